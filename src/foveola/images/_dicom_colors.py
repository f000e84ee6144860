"""From stored values to 8-bit sRGB: windows, palettes, YBR (PS3.3 C.7.6.3.1.2 and C.11).

Runs in the limited child only. Halves round up.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from foveola.errors import ImageError
from foveola.images._dicom_numbers import SHADES, by_voi_table, first_number, named, rescaled
from foveola.images._dicom_object import Form
from foveola.images._dicom_palette import palette_of
from foveola.images._shown import is_lost

Pixels = NDArray[np.uint8]
Values = NDArray[Any]
Floats = NDArray[np.float64]

_STRIP = 1 << 18  # pixels converted at once, to bound what a conversion takes beside its result


def to_srgb(values: Values, found: Dataset, form: Form, factor: int = 1) -> Pixels:
    """(H, W, C) stored values -> (H // factor, W // factor, 3) uint8 sRGB.

    Args:
        values: uint8, uint16 or int16.
        found: the object, for windows, palettes and the colour profile.
        form: how the values are stored, once the codec has undone what it does.
        factor: pixels of the result are means of squares of that side.

    Raises:
        ImageError: a table is damaged, or all comes out black though the values are not.
    """
    seen = _converter(found, form)
    step = max(1, len(values) // 512)
    thin = np.ascontiguousarray(values[::step, ::step])
    if is_lost(thin, seen(thin)):
        raise ImageError(
            f"it comes out black or of one shade, though its pixels are not, by "
            f"{named(_shaped_by(found, form.photometric))}; export it again, with 8 bits if you can"
        )
    height, width = values.shape[0] // factor, values.shape[1] // factor
    made = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // (values.shape[1] * factor)) * factor
    for top in range(0, height * factor, rows):
        part = seen(values[top : min(top + rows, height * factor), : width * factor])
        made[top // factor : (top + len(part)) // factor] = _means(part, factor)
    return made


def _means(pixels: Pixels, factor: int) -> Pixels:
    """Means of squares of that side."""
    if factor == 1:
        return pixels
    height, width, _ = pixels.shape
    squares = pixels.reshape(height // factor, factor, width // factor, factor, 3)
    return np.asarray(squares.mean(axis=(1, 3), dtype=np.float32) + 0.5, np.uint8)


def _converter(found: Dataset, form: Form) -> Callable[[Values], Pixels]:
    """What makes 8-bit sRGB of stored values."""
    if form.samples == 1:
        table, low = _table(found, form), -(1 << (form.bits - 1)) if form.signed else 0
        in_colour = form.photometric == "PALETTE COLOR"

        def seen(values: Values) -> Pixels:
            at = np.clip(values[..., 0].astype(np.int32) - low, 0, len(table) - 1)
            return _profiled(table[at], found) if in_colour else table[at]

        return seen
    if form.photometric == "RGB":
        return lambda values: _profiled(_top_is_white(values, form.bits), found)
    return lambda values: _profiled(ybr_to_rgb(values), found)


def _shaped_by(found: Dataset, photometric: str) -> str:
    """The attribute that has most to do with how bright a picture is."""
    if photometric == "PALETTE COLOR":
        return "RedPaletteColorLookupTableDescriptor"
    said = ("VOILUTSequence", "WindowCenter", "ModalityLUTSequence", "RescaleSlope")
    return next((k for k in said if photometric in SHADES and found.get(k)), "BitsStored")


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


def _table(found: Dataset, form: Form) -> Pixels:
    """(N, 3) what every value that the bits stored can hold looks like, from the lowest on."""
    low = -(1 << (form.bits - 1)) if form.signed else 0
    stored = np.arange(low, low + (1 << form.bits))
    if form.photometric == "PALETTE COLOR":
        return palette_of(found).colours(stored)
    shades = shade(stored, found)
    shades = 255 - shades if form.photometric == "MONOCHROME1" else shades
    return np.repeat(shades[:, None], 3, axis=1)


def shade(stored: NDArray[np.int64], found: Dataset) -> Pixels:
    """(N,) every value that can be stored, ascending -> uint8, 0 is black.

    The first VOI window or table is applied after the modality's rescale; without one the full
    range of what can be stored becomes 0 to 255.
    """
    values = rescaled(stored, found)
    if found.get("VOILUTSequence"):
        return _rounded(by_voi_table(values, found))
    centre, width = first_number(found, "WindowCenter"), first_number(found, "WindowWidth")
    if centre is None or width is None:
        low, high = values.min(), values.max()
        return _rounded((values - low) / max(high - low, 1e-12))
    return _rounded(_window(values, centre, width, str(found.get("VOILUTFunction") or "LINEAR")))


def _window(x: Floats, centre: float, width: float, function: str) -> Floats:
    """(N,) in [0, 1], PS3.3 C.11.2.1.2 and C.11.2.1.3."""
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


def ybr_to_rgb(values: Values) -> Pixels:
    """(H, W, 3) uint8 YBR_FULL -> RGB, the inverse of PS3.3 C.7.6.3.1.2 as ITU-T T.871 has it.

        R = Y + 1.402 (Cr - 128)
        G = Y - (0.114 x 1.772 (Cb - 128) + 0.299 x 1.402 (Cr - 128)) / 0.587
        B = Y + 1.772 (Cb - 128)

    In whole numbers, so that every value is the nearest one.
    """
    wide = np.asarray(values, np.int32)
    y, cb, cr = wide[..., 0], wide[..., 1] - 128, wide[..., 2] - 128
    red, blue = y + _nearest(1402 * cr, 1000), y + _nearest(1772 * cb, 1000)
    green = y + _nearest(-202008 * cb - 419198 * cr, 587000)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255).astype(np.uint8)


def _nearest(above: NDArray[np.int32], below: int) -> NDArray[np.int32]:
    return np.asarray((2 * above + below) // (2 * below), np.int32)
