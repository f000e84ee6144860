"""The directories of a TIFF file, which is also the form of EXIF: sizes and a few tags.

Source: TIFF 6.0 (Adobe 1992), section 2; BigTIFF; EXIF 2.32, section 4.5.2.
"""

import struct
from dataclasses import dataclass

from foveola.errors import ImageError

MAX_PAGES = 64

REDUCED, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, MAX_VALUE, PLANAR, TILE_WIDTH, TILE_HEIGHT = 274, 277, 281, 284, 322, 323
EXTRA, FORMAT, COLOR_MAP = 338, 339, 320
_WANTED = {
    REDUCED,
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    ORIENTATION,
    SAMPLES,
    MAX_VALUE,
    PLANAR,
    TILE_WIDTH,
    TILE_HEIGHT,
    EXTRA,
    FORMAT,
}
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # the whole numbers
# An offset beyond the file, one beyond 63 bits (BigTIFF), an unknown byte order.
_OUT_OF_BOUNDS = (struct.error, OverflowError, KeyError)
_MOST_VALUES = 16  # of one tag; bits per sample has one for each channel

Tags = dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class Page:
    """One directory: where it lies and what it says."""

    offset: int
    tags: Tags

    def get(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag."""
        return self.tags.get(tag, (default,))[0]

    @property
    def pixels(self) -> int:
        """Return width x height."""
        return self.get(WIDTH) * self.get(HEIGHT)


def read_pages(data: bytes, most: int = MAX_PAGES) -> list[Page]:
    """Read every page of a TIFF, in the order of the file.

    Raises:
        ImageError: no page, more than `most`, or a chain of pages that leads nowhere.
    """
    pages: list[Page] = []
    try:
        order, big, offset = _start(data)
        while offset:
            if len(pages) == most:
                raise ImageError(f"this TIFF has more than {most} pages; expected one photograph")
            tags, following = _directory(data, offset, order, big)
            pages.append(Page(offset, tags))
            # A chain that bites its tail would go on for ever.
            offset = 0 if any(following == page.offset for page in pages) else following
    except _OUT_OF_BOUNDS as error:
        raise ImageError("the TIFF's directory is damaged or cut off; copy the file again") from error
    if not pages:
        raise ImageError("this TIFF has no page; export the photograph again")
    return pages


def exif_orientation(data: bytes) -> int:
    """Return the orientation 1-8 of an EXIF block, with or without its "Exif" prefix; 1 if unreadable."""
    data = data.removeprefix(b"Exif\0\0")
    try:
        order, big, offset = _start(data)
        tags, _ = _directory(data, offset, order, big)
    except _OUT_OF_BOUNDS:
        return 1
    return valid_orientation(tags.get(ORIENTATION, (1,))[0])


def valid_orientation(value: int) -> int:
    """Return the value if it is 1-8, else 1: cameras write 0 for unknown."""
    return value if 1 <= value <= 8 else 1


def starting_at(data: bytes, page: Page) -> bytes:
    """Return the same TIFF with `page` as its first page, and that page's orientation as upright.

    Libraries look at the first page. Some turn it as the orientation says, some don't; so
    that it is turned once, the tag is taken out of their sight.
    """
    order, big, first = _start(data)
    if first == page.offset and page.get(ORIENTATION, 1) == 1:
        return data
    out = bytearray(data)
    place, word = (8, "Q") if big else (4, "I")
    struct.pack_into(order + word, out, place, page.offset)
    for at in _entries(data, page.offset, order, big):
        if struct.unpack_from(order + "H", data, at) == (ORIENTATION,):
            struct.pack_into(f"{order}HH{word}H", out, at, ORIENTATION, 3, 1, 1)
    return bytes(out)


def _start(data: bytes) -> tuple[str, bool, int]:
    """Byte order, whether BigTIFF, offset of the first directory."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 43:
        return order, True, struct.unpack_from(order + "Q", data, 8)[0]
    return order, False, struct.unpack_from(order + "I", data, 4)[0]


def _entries(data: bytes, offset: int, order: str, big: bool) -> range:
    """Where each entry of a directory begins; the stop is where the next offset lies."""
    count_code, size = ("Q", 20) if big else ("H", 12)
    (count,) = struct.unpack_from(order + count_code, data, offset)
    start = offset + struct.calcsize(order + count_code)
    if start + count * size > len(data):
        raise struct.error("a directory beyond the end of the file")
    return range(start, start + count * size, size)


def _directory(data: bytes, offset: int, order: str, big: bool) -> tuple[Tags, int]:
    """The wanted tags of one directory, and the offset of the next (0 after the last)."""
    word = "Q" if big else "I"
    entries = _entries(data, offset, order, big)
    value = 4 + struct.calcsize(order + word)  # after tag, type and count
    tags: Tags = {}
    for at in entries:
        tag, kind, number = struct.unpack_from(f"{order}HH{word}", data, at)
        if tag in _WANTED and kind in _TYPES and 0 < number <= _MOST_VALUES:
            tags[tag] = _values(data, at + value, order, kind, number, word)
    end = entries.stop
    following = struct.unpack_from(order + word, data, end)[0] if end + 4 <= len(data) else 0
    return tags, following


def _values(data: bytes, at: int, order: str, kind: int, number: int, word: str) -> tuple[int, ...]:
    """The values of an entry: in the entry itself if they fit, else where it points to."""
    code = f"{order}{number}{_TYPES[kind]}"
    if struct.calcsize(code) > struct.calcsize(order + word):
        (at,) = struct.unpack_from(order + word, data, at)
    return struct.unpack_from(code, data, at)
