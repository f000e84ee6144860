"""Numbers and tables of a DICOM image that decide what is seen: finite and plausible, or refused.

Runs in the limited child only. A sentence names the attribute.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from foveola.errors import ImageError

Floats = NDArray[np.float64]

SHADES = ("MONOCHROME1", "MONOCHROME2")
# Of a centre, a width, a slope, an intercept: 16-bit values lie below, and what de-identification
# would leave out (foveola.server.dicom.attribute_allowlist) must not look otherwise than before.
_MOST = 99_999


def named(keyword: str) -> str:
    """A tag as a sentence names it: "Rows (0028,0010)"."""
    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def check_numbers(found: Dataset, photometric: str) -> None:
    """Look at every number that `foveola.images._dicom_colors` will use of a grey picture.

    Raises:
        ImageError: one is none, not finite, absurd, or makes all values alike.
    """
    if photometric not in SHADES:
        return
    numbers = {k: first_number(found, k) for k in ("WindowCenter", "WindowWidth", "RescaleSlope")}
    first_number(found, "RescaleIntercept")
    if numbers["RescaleSlope"] == 0:
        raise ImageError(f"{named('RescaleSlope')} is 0, which makes all values alike; export the image again")
    width = numbers["WindowWidth"]
    least = 1 if str(found.get("VOILUTFunction") or "LINEAR") == "LINEAR" else 1e-9
    if width is not None and numbers["WindowCenter"] is not None and width < least:
        raise ImageError(f"{named('WindowWidth')} is too small; export the image without a window")


def first_number(found: Dataset, keyword: str) -> float | None:
    """The first value of an attribute; None where it is missing or empty.

    Raises:
        ImageError: it is no number, not finite, or absurdly large.
    """
    try:
        value: Any = found.get(keyword)
        if isinstance(value, MultiValue):
            value = value[0] if len(value) else None
        if value is None or value == "":
            return None
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ImageError(f"{named(keyword)} is not a number; export the image again") from None
    if not abs(number) <= _MOST:  # nor if it is NaN
        raise ImageError(f"{named(keyword)} is not a plausible number; export the image again, or without it")
    return number


def rescaled(stored: NDArray[np.int64], found: Dataset) -> Floats:
    """(N,) stored values after the modality's table, or its slope and intercept.

    Raises:
        ImageError: the table is damaged.
    """
    if found.get("ModalityLUTSequence"):
        dtype = np.int16 if stored[0] < 0 else np.uint16
        return _by_table("ModalityLUTSequence", apply_modality_lut, stored.astype(dtype), found)
    slope, intercept = first_number(found, "RescaleSlope"), first_number(found, "RescaleIntercept")
    scaled = stored * (1.0 if slope is None else slope) + (intercept or 0.0)
    return np.asarray(scaled, np.float64)


def by_voi_table(values: Floats, found: Dataset) -> Floats:
    """(N,) from 0 to 1, by the first table of values of interest.

    Raises:
        ImageError: it is damaged.
    """
    table = _by_table("VOILUTSequence", apply_voi_lut, values.astype(np.int64), found, 0)
    bits = found.VOILUTSequence[0].LUTDescriptor[2]
    if not 8 <= bits <= 16:
        raise ImageError(f"{named('VOILUTSequence')} is of {bits} bits; expected 8 to 16")
    return np.asarray(table / ((1 << int(bits)) - 1))


def _by_table(keyword: str, apply: Any, *arguments: Any) -> Floats:
    try:
        return np.asarray(apply(*arguments), np.float64)
    except MemoryError:
        raise
    except Exception:  # whatever a table of a wrong length or kind leads to
        raise ImageError(f"{named(keyword)} is damaged; export the image without it") from None
