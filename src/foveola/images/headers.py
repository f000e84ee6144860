"""What a photograph's file says of itself, read before anything is allocated for its pixels.

The kind of a file is told by what it begins with, never by its name; then one short reader for each
format. It trusts nothing: every offset is checked, and whatever does not fit is an ImageError that
names the damage.
"""

import codecs
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from foveola.errors import ImageError
from foveola.images import _tiff
from foveola.images._tiff import Page

NO_MEMORY = "there is not enough memory to decode it; close other programs or export it smaller"
READABLE = "JPEG, PNG, TIFF, WebP, BMP or DICOM"


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
            orientation = _tiff.exif_orientation(data[start:end])
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
            orientation = _tiff.exif_orientation(data[start:end])
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


# --- TIFF ---


def _read_tiff(data: bytes) -> Header:
    pages = _tiff.read_pages(data)
    page = max(pages, key=lambda page: page.pixels)  # the first of the largest
    _one_photograph(pages, page)
    return Header(
        format="TIFF",
        width=page.get(_tiff.WIDTH),
        height=page.get(_tiff.HEIGHT),
        bits=max(page.tags.get(_tiff.BITS, (1,))),
        channels=page.get(_tiff.SAMPLES, 1),
        orientation=_tiff.valid_orientation(page.get(_tiff.ORIENTATION, 1)),
        page=page,
    )


def _one_photograph(pages: list[Page], page: Page) -> None:
    """Previews beside the photograph are common and fine; a second photograph is not."""
    if page.get(_tiff.REDUCED) & 1:
        raise ImageError(
            "this TIFF holds only a preview of a photograph (a camera raw file?); export it as JPEG, PNG or plain TIFF"
        )
    same = sum(other.pixels == page.pixels and not other.get(_tiff.REDUCED) & 5 for other in pages)
    if same > 1:
        raise ImageError(
            f"this TIFF holds {same} pictures of the same size; expected one photograph, "
            "so save each page as a file of its own"
        )


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
            return _tiff.exif_orientation(data[at + 8 : at + 8 + length])
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


# --- Which kind of file it is ---


# Every pair: what the file begins with, and its name in a sentence.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"PK\x03\x04", "a ZIP archive (also the form of .docx, .xlsx and .pptx)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL", "a JPEG XL"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office file"),
    (b"{\\rtf", "an RTF document"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"version https://git-lfs", "a Git LFS pointer (run `git lfs pull`)"),
)
_BRANDS = {b"avif": "an AVIF", b"avis": "an AVIF", b"crx ": "a Canon camera raw file"}
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
# Of these, pictures of which a camera's owner may not know that they are not read.
PICTURES = frozenset(
    {"a GIF", "a JPEG 2000", "a JPEG XL", "a Photoshop file", "an AVIF", "a HEIC", "a Canon camera raw file"}
)
_DICOM = "a DICOM dataset without the preamble of a file (export it as a DICOM file)"


def is_dicom(data: bytes) -> bool:
    """Return whether this is a DICOM file, which is read by other means than photographs are."""
    return data[128:132] == b"DICM"


def readable_format(data: bytes) -> str | None:
    """Return JPEG, PNG, TIFF, WebP or BMP; None for anything else."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    # Two letters are little to go by: a text may begin with BM, too.
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:
        return "BMP"
    return None


_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


def describe(data: bytes) -> str:
    """Say what an unreadable file is, as the end of the sentence "this is ...".

    >>> describe(b"%PDF-1.7")
    'a PDF'
    """
    if not data:
        return "an empty file"
    for start, words in _OTHERS:
        if data.startswith(start):
            return words
    if data[:4] in (b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\0\0"):
        return _DICOM
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "a HEIC" if brand in _HEIC else _BRANDS.get(brand, "a video (MP4 or MOV)")
    return _describe_text(data)


def _describe_text(data: bytes) -> str:
    head = data[:4096]
    if not any(head):
        return "a file of zeros (an unfinished copy?)"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page (a login or error page saved as an image?)"
    if start.startswith((b"<svg", b"<?xml")):
        return "an SVG drawing" if b"<svg" in start else "an XML file"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "a JSON file"
    return "a text file" if _is_text(head) else "a file of an unknown kind"


def _is_text(head: bytes) -> bool:
    """Whether there is nothing but UTF-8 without control characters."""
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the cut may split a character
    except UnicodeDecodeError:
        return False
    return True
