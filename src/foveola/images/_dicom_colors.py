"""From stored values to 8-bit sRGB: windows, palettes, YBR (PS3.3 C.7.6.3.1.2 and C.11).

Runs in the limited child only. Halves round up.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from foveola.errors import ImageError
from foveola.images._dicom_object import Form

Pixels = NDArray[np.uint8]
Values = NDArray[Any]
Floats = NDArray[np.float64]

_STRIP = 1 << 22  # pixels converted at once, to bound what a conversion takes beside its result


def to_srgb(values: Values, found: Dataset, form: Form, photometric: str) -> Pixels:
    """(H, W, C) stored values -> (H, W, 3) uint8 sRGB.

    Args:
        values: uint8, uint16 or int16.
        found: the object, for windows, palettes and the colour profile.
        form: how it is stored.
        photometric: what the values are now, after the codec.
    """
    if photometric == "PALETTE COLOR":
        return _palette(values[..., 0], found)
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        return np.repeat(_grey(values[..., 0], found, form)[..., None], 3, axis=-1)
    if photometric != "RGB":
        return _profiled(ybr_to_rgb(values), found)
    return _profiled(_top_is_white(values, form.bits), found)


def _profiled(pixels: Pixels, found: Dataset) -> Pixels:
    icc = found.get("ICCProfile")
    if not isinstance(icc, bytes) or len(icc) < 128:
        return pixels
    from foveola.images.color import to_srgb as by_profile

    return by_profile(np.ascontiguousarray(pixels), icc.rstrip(b"\0") if len(icc) % 2 else icc)


def _top_is_white(values: Values, bits: int) -> Pixels:
    """The full range of the bits stored becomes 0 to 255."""
    if values.dtype == np.uint8 and bits == 8:
        return values
    top = (1 << bits) - 1
    levels = np.minimum(np.arange(1 << (8 * values.itemsize)), top)
    return ((2 * levels * 255 + top) // (2 * top)).astype(np.uint8)[values]


# --- grey ---


def _grey(values: Values, found: Dataset, form: Form) -> Pixels:
    """(H, W) -> uint8 by a table over all values that the bits stored can hold."""
    low = -(1 << (form.bits - 1)) if form.signed else 0
    stored = np.arange(low, low + (1 << form.bits))
    shades = shade(stored, found)
    if form.photometric == "MONOCHROME1":
        shades = 255 - shades
    return shades[np.clip(values.astype(np.int32) - low, 0, len(stored) - 1)]


def shade(stored: NDArray[np.int64], found: Dataset) -> Pixels:
    """(N,) every value that can be stored, ascending -> uint8, 0 is black.

    The first VOI window or table is applied after the modality's rescale; without one the full
    range of what can be stored becomes 0 to 255.
    """
    dtype = np.int16 if stored[0] < 0 else np.uint16
    values = np.asarray(apply_modality_lut(stored.astype(dtype), found), np.float64)
    if found.get("VOILUTSequence"):
        table = np.asarray(apply_voi_lut(values.astype(np.int64), found, 0), np.float64)
        bits = int(found.VOILUTSequence[0].LUTDescriptor[2])
        return _rounded(table / ((1 << bits) - 1))
    centre, width = _first(found, "WindowCenter"), _first(found, "WindowWidth")
    if centre is None or width is None:
        low, high = values.min(), values.max()
        return _rounded((values - low) / max(high - low, 1e-12))
    return _rounded(_window(values, centre, width, str(found.get("VOILUTFunction") or "LINEAR")))


def _first(found: Dataset, keyword: str) -> float | None:
    value = found.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if len(value) else None
    return None if value in (None, "") else float(value)


def _window(x: Floats, centre: float, width: float, function: str) -> Floats:
    """(N,) in [0, 1], PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if width < 1 if function == "LINEAR" else width <= 0:
        raise ImageError("WindowWidth (0028,1051) is too small; export the image without a window")
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700))))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return np.asarray(x > centre, np.float64)
    return np.clip((x - centre) / width + 0.5, 0, 1)


def _rounded(shares: Floats) -> Pixels:
    # A half that binary fractions miss by a hair still rounds up.
    return np.floor(np.clip(shares, 0, 1) * 255 + 0.5 + 1e-9).astype(np.uint8)


# --- colours ---


def _palette(values: Values, found: Dataset) -> Pixels:
    """By the palette of the object; of entries with 16 bits the upper 8 are taken."""
    try:
        colours = apply_color_lut(values, found)
    except (AttributeError, ValueError, KeyError, TypeError):
        raise ImageError(
            "the palette (0028,1101) to (0028,1203) is missing or damaged; export it as RGB"
        ) from None
    if colours.dtype == np.uint16:
        colours = (colours >> 8).astype(np.uint8)
    return _profiled(colours, found)


def ybr_to_rgb(values: Values) -> Pixels:
    """(H, W, 3) uint8 YBR_FULL -> RGB, the inverse of PS3.3 C.7.6.3.1.2 as ITU-T T.871 has it.

        R = Y + 1.402 (Cr - 128)
        G = Y - (0.114 x 1.772 (Cb - 128) + 0.299 x 1.402 (Cr - 128)) / 0.587
        B = Y + 1.772 (Cb - 128)

    In whole numbers, so that every value is the nearest one.
    """
    rgb = np.empty_like(values)
    rows = max(1, _STRIP // values.shape[1])
    for start in range(0, len(values), rows):
        strip = values[start : start + rows].astype(np.int32)
        y, cb, cr = strip[..., 0], strip[..., 1] - 128, strip[..., 2] - 128
        rgb[start : start + rows, :, 0] = _clip(y + _nearest(1402 * cr, 1000))
        rgb[start : start + rows, :, 1] = _clip(y + _nearest(-202008 * cb - 419198 * cr, 587000))
        rgb[start : start + rows, :, 2] = _clip(y + _nearest(1772 * cb, 1000))
    return rgb


def _nearest(above: NDArray[np.int32], below: int) -> NDArray[np.int32]:
    return np.asarray((2 * above + below) // (2 * below), np.int32)


def _clip(values: NDArray[np.int32]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)
