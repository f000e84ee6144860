"""What makes one search, and a service, start sooner."""

import gc
import os
import sys
from pathlib import Path


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


def prepare_service(archive: Path) -> None:
    """Before a service is imported: what makes that quick, and what can be done meanwhile.

    Classes are made by the thousand while FastAPI is imported and nothing is thrown away, so the
    collector of garbage only looks at all of them again and again. And no plugin of pydantic that
    happens to be installed shall see what is sent.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    import_openvino_runtime()
    from foveola.encoders.compiling import WAITED_FOR
    from foveola.encoders.encoder import compile_ahead
    from foveola.errors import EncoderError

    try:
        compile_ahead(archive / "encoder", together=WAITED_FOR)
    except EncoderError:
        return  # it is told when the archive is opened


def service_is_ready() -> None:
    """After that: collect garbage again, but never look at what stays for ever."""
    gc.enable()
    gc.freeze()
