"""What a photograph's file says of itself, read before anything is allocated for its pixels.

The kind of a file is told by what it begins with, never by its name; then one short reader for each
format. It trusts nothing: every offset is checked, and whatever does not fit is an ImageError that
names the damage.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from foveola.errors import ImageError
from foveola.images.kinds import READABLE, describe, readable_format

NO_MEMORY = "there is not enough memory to decode it; close other programs or export it smaller"


class Tag(IntEnum):
    """What is read of a TIFF, and nothing else of it."""

    REDUCED = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    ORIENTATION = 274
    SAMPLES = 277
    MAX_VALUE = 281
    PLANAR = 284
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    EXTRA = 338
    FORMAT = 339


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
        return self.get(Tag.WIDTH) * self.get(Tag.HEIGHT)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Size, form and additions of a photograph, as its header states them.

    Attributes:
        format: JPEG, PNG, TIFF, WebP or BMP.
        width, height: pixels as stored, before the orientation is applied.
        bits: of a sample, 1 to 64.
        channels: as stored; 0 where the format leaves it to the decoder.
        orientation: EXIF 1-8; 1 is upright.
        passes: how often the decoder walks over the picture; above 1 in progressive JPEG.
        samples: for each pixel, fewer than channels where chroma is coarser; JPEG only.
        icc: the colour profile; read here from JPEG only.
        page: the directory to read; TIFF only.
    """

    format: str
    width: int
    height: int
    bits: int = 8
    channels: int = 0
    orientation: int = 1
    passes: int = 1
    samples: float = 0.0
    icc: bytes | None = field(default=None, repr=False)
    page: Page | None = field(default=None, repr=False)


def read_header(data: bytes) -> Header:
    """Read the header of a photograph.

    Raises:
        ImageError: another kind of file, an animation, a damaged or an unfinished header.
    """
    kind = readable_format(data)
    if kind is None:
        raise ImageError(f"this is {describe(data)}; expected a {READABLE} file")
    try:
        return _READERS[kind](data)
    except (struct.error, IndexError) as error:
        raise ImageError(f"the {kind} header is cut off; copy the file again") from error


# --- JPEG: ITU-T T.81, annex B ---

_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15 without DHT, JPG, DAC
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_SOS, _EOI, _APP1, _APP2 = 0xDA, 0xD9, 0xE1, 0xE2
MAX_SCANS = 200
_ICC = b"ICC_PROFILE\0"


def _jpeg(data: bytes) -> Header:
    frame: tuple[int, int, int, int] | None = None
    orientation, profile, scans, factors = 1, {}, 0, [1]
    for marker, start, end in segments(data):
        if marker in _FRAMES:
            frame = struct.unpack_from(">BHHB", data, start)
            factors = [(v >> 4) * (v & 15) for v in data[start + 7 : end : 3]]
        elif marker == _APP1 and data[start : start + 6] == b"Exif\0\0":
            orientation = _exif_orientation(data[start:end])
        elif marker == _APP2 and data.startswith(_ICC, start):
            profile[data[start + 12]] = data[start + 14 : end]
        elif marker == _SOS:
            # Inside a scan FF is always followed by 0, so this counts markers only.
            scans = data.count(b"\xff\xda", start - 4)
    if frame is None or not factors or not scans:
        raise ImageError("the JPEG ends before its picture begins; copy the file again")
    if scans > MAX_SCANS:
        raise ImageError(
            f"this JPEG has {scans} scans; expected at most {MAX_SCANS} (10 are usual), so save it as a plain JPEG"
        )
    bits, height, width, channels = frame
    return Header(
        format="JPEG",
        width=width,
        height=height,
        bits=bits,
        channels=channels,
        orientation=orientation,
        passes=scans,
        samples=sum(factors) / max(1, *factors),
        icc=b"".join(profile[i] for i in sorted(profile)) or None,
    )


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of every segment up to and with the first scan's header."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1  # stray bytes between segments: decoders skip them
            continue
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _EOI:
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, at + 4, at + 2 + length
        if marker == _SOS:
            return
        at += 2 + max(length, 2)


# --- PNG: W3C Recommendation, third edition ---

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _png(data: bytes) -> Header:
    orientation, ended = 1, False
    for kind, start, end in _chunks(data):
        if kind == b"acTL" and data[start : start + 4] != b"\0\0\0\1":
            raise ImageError("this is an animated PNG; expected one photograph")
        if kind == b"eXIf":
            orientation = _exif_orientation(data[start:end])
        ended = ended or kind == b"IEND"
    if data[12:16] != b"IHDR":
        raise ImageError("the PNG header is damaged; copy the file again")
    if not ended:
        raise ImageError("the PNG is cut off before its end; copy the file again")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    return Header(
        format="PNG", width=width, height=height, bits=bits, channels=_CHANNELS.get(colour, 0), orientation=orientation
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk; the checksum of each that carries pixels is checked."""
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, start, end = data[at + 4 : at + 8], at + 8, at + 8 + length
        if end + 4 > len(data):
            raise ImageError("the PNG is cut off before its end; copy the file again")
        # Pillow doesn't check the sums of pixel data and would show a picture with a fault.
        critical = kind[:1].isupper()
        if critical and zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ImageError("the PNG is damaged (a checksum is wrong); copy the file again")
        yield kind, start, end
        if kind == b"IEND":
            return
        at = end + 4


# --- TIFF 6.0 (Adobe 1992), section 2, and BigTIFF; EXIF 2.32, section 4.5.2, has the same form ---


MAX_PAGES = 64

_WANTED = frozenset(Tag)
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # the whole numbers
# An offset beyond the file, one beyond 63 bits (BigTIFF), an unknown byte order.
_OUT_OF_BOUNDS = (struct.error, OverflowError, KeyError)
_MOST_VALUES = 16  # of one tag; bits per sample has one for each channel


def _read_tiff(data: bytes) -> Header:
    pages = _pages(data)
    page = max(pages, key=lambda page: page.pixels)  # the first of the largest
    _one_photograph(pages, page)
    return Header(
        format="TIFF",
        width=page.get(Tag.WIDTH),
        height=page.get(Tag.HEIGHT),
        bits=max(page.tags.get(Tag.BITS, (1,))),
        channels=page.get(Tag.SAMPLES, 1),
        orientation=_valid_orientation(page.get(Tag.ORIENTATION, 1)),
        page=page,
    )


def _one_photograph(pages: list[Page], page: Page) -> None:
    """Previews beside the photograph are common and fine; a second photograph is not."""
    if page.get(Tag.REDUCED) & 1:
        raise ImageError(
            "this TIFF holds only a preview of a photograph (a camera raw file?); export it as JPEG, PNG or plain TIFF"
        )
    same = sum(other.pixels == page.pixels and not other.get(Tag.REDUCED) & 5 for other in pages)
    if same > 1:
        raise ImageError(
            f"this TIFF holds {same} pictures of the same size; expected one photograph, "
            "so save each page as a file of its own"
        )


def _pages(data: bytes) -> list[Page]:
    """Every page of a TIFF, in the order of the file.

    Raises:
        ImageError: no page, more than MAX_PAGES, or a chain of pages that leads nowhere.
    """
    pages: list[Page] = []
    try:
        order, big, offset = _start(data)
        while offset:
            if len(pages) == MAX_PAGES:
                raise ImageError(f"this TIFF has more than {MAX_PAGES} pages; expected one photograph")
            tags, following = _directory(data, offset, order, big)
            pages.append(Page(offset, tags))
            # A chain that bites its tail would go on for ever.
            offset = 0 if any(following == page.offset for page in pages) else following
    except _OUT_OF_BOUNDS as error:
        raise ImageError("the TIFF's directory is damaged or cut off; copy the file again") from error
    if not pages:
        raise ImageError("this TIFF has no page; export the photograph again")
    return pages


def _exif_orientation(data: bytes) -> int:
    """The orientation 1-8 of an EXIF block, with or without its "Exif" prefix; 1 if unreadable."""
    data = data.removeprefix(b"Exif\0\0")
    try:
        order, big, offset = _start(data)
        tags, _ = _directory(data, offset, order, big)
    except _OUT_OF_BOUNDS:
        return 1
    return _valid_orientation(tags.get(Tag.ORIENTATION, (1,))[0])


def _valid_orientation(value: int) -> int:
    """The value if it is 1-8, else 1: cameras write 0 for unknown."""
    return value if 1 <= value <= 8 else 1


def starting_at(data: bytes, page: Page) -> bytes:
    """Return the same TIFF with `page` as its first page, and that page's orientation as upright.

    Libraries look at the first page. Some turn it as the orientation says, some don't; so
    that it is turned once, the tag is taken out of their sight.
    """
    order, big, first = _start(data)
    if first == page.offset and page.get(Tag.ORIENTATION, 1) == 1:
        return data
    out = bytearray(data)
    place, word = (8, "Q") if big else (4, "I")
    struct.pack_into(order + word, out, place, page.offset)
    for at in _entries(data, page.offset, order, big):
        if struct.unpack_from(order + "H", data, at) == (Tag.ORIENTATION,):
            struct.pack_into(f"{order}HH{word}H", out, at, Tag.ORIENTATION, 3, 1, 1)
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


# --- WebP: RFC 9649 ---


def _webp(data: bytes) -> Header:
    if 8 + struct.unpack_from("<I", data, 4)[0] > len(data):
        raise ImageError("the WebP is cut off before its end; copy the file again")
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        return Header(format="WebP", width=width, height=height, channels=3)
    if kind == b"VP8L":
        (both,) = struct.unpack_from("<I", data, 21)
        width, height = (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
        return Header(format="WebP", width=width, height=height)
    if kind != b"VP8X":
        raise ImageError("the WebP header is damaged; copy the file again")
    if data[20] & 2:
        raise ImageError("this is an animated WebP; expected one photograph")
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    return Header(format="WebP", width=width, height=height, orientation=_webp_turn(data))


def _webp_turn(data: bytes) -> int:
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        if data[at : at + 4] == b"EXIF":
            return _exif_orientation(data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return 1


# --- BMP ---


def _bmp(data: bytes) -> Header:
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        (bits,) = struct.unpack_from("<H", data, 24)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
        (bits,) = struct.unpack_from("<H", data, 28)
    # Height is negative where the rows run from top to bottom.
    return Header(format="BMP", width=width, height=abs(height), bits=min(bits, 8))


_READERS = {"JPEG": _jpeg, "PNG": _png, "TIFF": _read_tiff, "WebP": _webp, "BMP": _bmp}
