"""What the limited child does for `foveola.images.dicom`."""

from typing import Any

from foveola.images._dicom_frames import decode_frame
from foveola.images._dicom_object import eye_of, form_of, read_object
from foveola.images.cameras import camera_of
from foveola.images.decode import Limits


def facts(data: bytes, *, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The fields of `DicomFacts`."""
    found = read_object(data, Limits(**limits))
    form = form_of(found, Limits(**limits))
    return {
        "width": form.columns,
        "height": form.rows,
        "frames": form.frames,
        "eye": eye_of(found),
        "camera": " ".join(filter(None, camera_of(found) or ())) or None,
    }, b""


def decode(data: bytes, *, limits: dict[str, Any], min_side: int | None, frame: int) -> tuple[dict[str, Any], bytes]:
    """The shape and the bytes of one frame's pixels."""
    found = read_object(data, Limits(**limits))
    form = form_of(found, Limits(**limits))
    pixels = decode_frame(found, form, frame, min_side)
    return {"shape": pixels.shape}, pixels.tobytes()
