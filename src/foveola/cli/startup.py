"""What makes one search start sooner."""

import sys


def import_openvino_runtime() -> None:
    """Import OpenVINO without its model converter, which is half of its import time.

    OpenVINO itself allows for an absent converter. This is for a process of ours only, never
    for the library: `openvino.convert_model` is missing afterwards.
    """
    converter = "openvino.tools.ovc"
    if "openvino" in sys.modules:
        return
    sys.modules[converter] = None  # type: ignore[assignment]  # importing it is an ImportError
    try:
        import openvino  # noqa: F401
    finally:
        del sys.modules[converter]
