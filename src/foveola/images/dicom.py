"""DICOM images: bytes in, upright 8-bit sRGB out, decoded in a limited child process.

Ophthalmic Photography, Secondary Capture and VL images, whatever their transfer syntax; see
docs/how-to/dicom.md. Nothing here imports pydicom: the child does.
"""

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola.errors import MissingExtraError
from foveola.images.limited import POOL
from foveola.images.limits import Limits
from foveola.records import Eye

Pixels = NDArray[np.uint8]
_CALLS = "foveola.images._dicom_frames"


@dataclass(frozen=True, kw_only=True)
class DicomFacts:
    """What the header of a DICOM image says.

    Attributes:
        width, height: pixels of a frame.
        frames: at least 1.
        eye: of the first frame; None where it is not stated or both are.
        camera: maker and model, in our words, see `known_camera`; None for others.
    """

    width: int
    height: int
    frames: int
    eye: Eye | None
    camera: str | None


def decode_dicom(data: bytes, limits: Limits, *, min_side: int | None = None, frame: int = 0) -> Pixels:
    """Decode one frame of a DICOM image.

    Args:
        data: a DICOM file (PS3.10) with its preamble.
        limits: what it may cost.
        min_side: as for `foveola.images.decode.decode`, for JPEG Baseline.
        frame: which, from 0.

    Returns:
        (H, W, 3) uint8, RGB in sRGB, contiguous and writable.

    Raises:
        ImageError: no image that can be used; the sentence holds tags and no patient's data.
        MissingExtraError: pydicom is not installed.
    """
    facts, pixels = _call("decode", data, limits, min_side=min_side, frame=frame)
    return np.frombuffer(bytearray(pixels), np.uint8).reshape(facts["shape"])


def read_facts(data: bytes, limits: Limits) -> DicomFacts:
    """Read what the header says; the pixels may still turn out damaged.

    Raises:
        ImageError, MissingExtraError: as for `decode_dicom`.
    """
    facts, _ = _call("facts", data, limits)
    return DicomFacts(**facts)


def require_pydicom() -> None:
    """Say how to install what is missing.

    Raises:
        MissingExtraError: pydicom is not installed.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise MissingExtraError(
            "reading DICOM needs pydicom, which is not installed. Run: pip install 'foveola[dicom]'"
        )


def _call(name: str, data: bytes, limits: Limits, **arguments: int | None) -> tuple[dict[str, Any], bytes]:
    require_pydicom()
    return POOL.call(f"{_CALLS}:{name}", data, seconds=limits.max_seconds, limits=asdict(limits), **arguments)
