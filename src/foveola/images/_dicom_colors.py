"""From stored values to 8-bit sRGB: windows, palettes, YBR (PS3.3 C.7.6.3.1.2, C.7.9.2 and C.11).

Runs in the limited child only. Halves round up.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from foveola.errors import ImageError
from foveola.images._dicom_object import SHADES, Form, first_number, named
from foveola.images.color import is_lost

Pixels = NDArray[np.uint8]
Values = NDArray[Any]
Floats = NDArray[np.float64]

_STRIP = 1 << 18  # pixels converted at once, to bound what a conversion takes beside its result


def to_srgb(values: Values, found: Dataset, form: Form, factor: int = 1) -> Pixels:
    """Convert (H, W, C) stored values -> (H // factor, W // factor, 3) uint8 sRGB.

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
    """Shade (N,) every value that can be stored, ascending -> uint8, 0 is black.

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


def rescaled(stored: NDArray[np.int64], found: Dataset) -> Floats:
    """Return the (N,) stored values after the modality's table, or its slope and intercept.

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
    """Map (N,) values to 0 to 1, by the first table of values of interest.

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


# --- colours ---


def ybr_to_rgb(values: Values) -> Pixels:
    """Convert (H, W, 3) uint8 YBR_FULL -> RGB, the inverse of PS3.3 C.7.6.3.1.2 as ITU-T T.871 has it.

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


# --- palettes ---


COLOURS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = range(3)  # opcodes of segments


class Palette(NamedTuple):
    """Colours by stored value.

    Attributes:
        first: the stored value of the first entry, which all below it get too.
        entries: (N, 3) uint8; what lies above the last gets the last.
    """

    first: int
    entries: NDArray[np.uint8]

    def colours(self, stored: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Look up (N,) stored values -> (N, 3) uint8."""
        return self.entries[np.clip(stored - self.first, 0, len(self.entries) - 1)]


def palette_of(found: Dataset) -> Palette:
    """Read the palette of an object.

    Of entries with 16 bits the upper 8 are taken, unless no entry of any colour reaches 256: then
    they hold 8 bits each, in words, as some cameras write them whatever the descriptor says.

    Raises:
        ImageError: a table is missing, damaged, or of another depth than 8 or 16 bits.
    """
    count, first, bits = _descriptor(found)
    order = "<" if found.file_meta.TransferSyntaxUID.is_little_endian else ">"
    tables = [_entries(found, colour, count, bits, order) for colour in COLOURS]
    entries = np.stack(tables, axis=1)
    return Palette(first, (entries >> 8 if entries.max() > 255 else entries).astype(np.uint8))


def _descriptor(found: Dataset) -> tuple[int, int, int]:
    """Entries, first stored value and bits, which all three colours must have in common."""
    said: list[list[int]] = []
    for colour in COLOURS:
        keyword = f"{colour}PaletteColorLookupTableDescriptor"
        value = found.get(keyword)
        if not isinstance(value, MultiValue | list) or len(value) != 3 or value[2] not in (8, 16):
            raise ImageError(f"{named(keyword)} is missing, or does not state 8 or 16 bits; export it as RGB")
        if said and list(value) != said[0]:
            raise ImageError(f"{named(keyword)} differs from that of red; export it as RGB")
        said.append([int(v) for v in value])
    count, first, bits = said[0]
    return count % 2**16 or 2**16, first, bits


def _entries(found: Dataset, colour: str, count: int, bits: int, order: str) -> NDArray[np.uint16]:
    """(N,) entries of one colour."""
    keyword = f"{colour}PaletteColorLookupTableData"
    plain, segments = found.get(keyword), found.get(f"Segmented{keyword}")
    made: Sequence[int] | NDArray[np.uint16] = ()
    if isinstance(plain, bytes) and len(plain) >= 2 * count:
        made = np.frombuffer(plain, f"{order}u2", count)
    elif isinstance(plain, bytes) and len(plain) in (count, count + 1):
        made = _bytes_of_words(plain, count, order)
    elif isinstance(segments, bytes):
        keyword = f"Segmented{keyword}"
        # Of 8 bits a segment, whatever it is written in, gives as many entries as are stated.
        sizes = (1, 2) if bits == 8 else (2,)
        made = next((t for s in sizes if len(t := _expanded(segments, s, order)) == count), ())
    if len(made) != count:
        raise ImageError(f"{named(keyword)} is missing or damaged; export it as RGB")
    return np.asarray(made, np.uint16)


def _bytes_of_words(data: bytes, count: int, order: str) -> NDArray[np.uint16]:
    """(N,) entries of 8 bits, two a word, the first in the lower half of each."""
    values = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2").astype("<u2").view(np.uint8)
    tail = np.frombuffer(data[len(values) :], np.uint8)
    return np.concatenate([values, tail])[:count].astype(np.uint16)


def _expanded(data: bytes, size: int, order: str) -> list[int]:
    """The entries that segments of one or two bytes a number stand for; [] where they are none."""
    numbers = struct.unpack(f"{order}{len(data) // size}{'BH'[size - 1]}", data[: len(data) // size * size])
    made: list[int] = []
    try:
        _expand(numbers, 0, None, made, size)
    except (IndexError, ZeroDivisionError):
        return []
    return made


def _expand(numbers: Sequence[int], at: int, segments: int | None, made: list[int], size: int) -> None:
    """Append what so many segments from `at` on (all, if None) stand for."""
    while at + 1 < len(numbers) and segments != 0 and len(made) <= 2**16:
        kind, count = numbers[at], numbers[at + 1]
        at += 2
        if kind == _DISCRETE:
            if at + count > len(numbers):
                raise IndexError
            made += numbers[at : at + count]
            at += count
        elif kind == _LINEAR:
            start, end = made[-1], numbers[at]
            made += [round(start + (end - start) * (n + 1) / count) for n in range(count)]
            at += 1
        elif kind == _INDIRECT and segments is None:  # those it names are of the other kinds
            words = numbers[at : at + 4 // size]
            offset = sum(word << (8 * size * n) for n, word in enumerate(words))
            _expand(numbers, offset // size, count, made, size)
            at += 4 // size
        else:
            raise IndexError
        segments = None if segments is None else segments - 1
