"""The palette of a DICOM image: PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9.2.

Runs in the limited child only.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from foveola.errors import ImageError
from foveola.images._dicom_numbers import named

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
        """(N,) stored values -> (N, 3) uint8."""
        return self.entries[np.clip(stored - self.first, 0, len(self.entries) - 1)]


def palette_of(found: Dataset) -> Palette:
    """The palette of an object.

    Of entries with 16 bits the upper 8 are taken, unless no entry of any colour reaches 256: then
    they hold 8 bits each, in words, as some cameras write them whatever the descriptor says.

    Raises:
        ImageError: a table is missing, damaged, or of another depth than 8 or 16 bits.
    """
    count, first, bits = _descriptor(found)
    order = "<" if found.file_meta.TransferSyntaxUID.is_little_endian else ">"
    tables = [_table(found, colour, count, bits, order) for colour in COLOURS]
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


def _table(found: Dataset, colour: str, count: int, bits: int, order: str) -> NDArray[np.uint16]:
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
