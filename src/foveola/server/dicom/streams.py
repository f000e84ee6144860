"""Compressed pictures without what cameras write beside them: EXIF, comments, thumbnails.

A JPEG in a DICOM object may carry a patient's name in a comment as well as one in a file. Only
the segments that a decoder needs are kept, so that the pixels stay the same to the bit.
"""

import struct
from collections.abc import Iterator

from foveola.errors import ImageError

_EOI, _SOS, _APP0, _APP8, _APP14 = 0xD9, 0xDA, 0xE0, 0xE8, 0xEE
# Frames, tables, scans; SOF55 and LSE of JPEG-LS.
_DECODES = {*range(0xC0, 0xD0), *range(_SOS, _APP0), 0xF7, 0xF8}
_DAMAGED = "the {} in PixelData (7FE0,0010) is damaged or cut off; copy or send it again"


def clean_jpeg(stream: bytes) -> bytes:
    """Keep of a JPEG or JPEG-LS of any process, from SOI to EOI, the segments that decode it.

    Of the application's segments three say what the colours are, and only that is kept of them:
    JFIF (without its thumbnail), Adobe's, and the transform of JPEG-LS.

    Raises:
        ImageError: it is damaged or has no end.
    """
    kept = [b"\xff\xd8"]
    for marker, payload, scan in _segments(stream):
        if marker == _EOI:
            return b"".join([*kept, b"\xff\xd9"])
        if (needed := _needed(marker, payload)) is not None:
            kept += [b"\xff", bytes([marker]), struct.pack(">H", len(needed) + 2), needed, scan]
    raise ImageError(_DAMAGED.format("JPEG"))


def _needed(marker: int, payload: bytes) -> bytes | None:
    if marker == _APP0 and payload[:5] == b"JFIF\0" and len(payload) >= 12:
        return payload[:12] + b"\0\0"
    if marker == _APP14 and payload[:5] == b"Adobe" and len(payload) >= 12:
        return payload[:12]
    if marker == _APP8 and payload[:4] == b"mrfx":
        return payload[:5]
    return payload if marker in _DECODES else None


def _segments(stream: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(marker, payload, coded data after it) of each segment, the last being EOI."""
    if stream[:2] != b"\xff\xd8":
        raise ImageError(_DAMAGED.format("JPEG"))
    at = 2
    while at + 2 <= len(stream):
        marker = stream[at + 1]
        if stream[at] != 0xFF or marker == 0xFF:
            at += 1  # fill bytes
            continue
        if marker == _EOI:
            yield marker, b"", b""
            return
        if at + 4 > len(stream):
            break
        (length,) = struct.unpack_from(">H", stream, at + 2)
        end = at + 2 + max(length, 2)
        after = _next_marker(stream, end) if marker == _SOS else end
        yield marker, stream[at + 4 : end], stream[end:after]
        at = after
    raise ImageError(_DAMAGED.format("JPEG"))


def _next_marker(stream: bytes, at: int) -> int:
    """Where the coded data that begins at `at` ends: a marker that is no restart.

    After FF the coded data of JPEG has a 0, that of JPEG-LS a byte below 128.
    """
    while (at := stream.find(b"\xff", at)) >= 0 and at + 1 < len(stream):
        follows = stream[at + 1]
        if follows >= 0x80 and follows != 0xFF and not 0xD0 <= follows <= 0xD7:
            return at
        at += 1
    raise ImageError(_DAMAGED.format("JPEG"))


# --- JPEG 2000: ITU-T T.800, annex A ---

_SOC, _SOT, _SOD, _EOC = 0xFF4F, 0xFF90, 0xFF93, 0xFFD9
_NEEDED = {*range(0xFF50, 0xFF54), 0xFF55, *range(0xFF57, 0xFF5A), *range(0xFF5C, 0xFF62), 0xFF63, _SOT}


def clean_jpeg_2000(stream: bytes) -> bytes:
    """Return a JPEG 2000 codestream with its comments blanked; a JP2 file's boxes are left out.

    Comments are overwritten in place, as tile parts state their lengths.

    Raises:
        ImageError: it is damaged or cut off.
    """
    start = stream.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise ImageError(_DAMAGED.format("JPEG 2000"))
    made = bytearray(stream[start:])
    try:
        end = _blank(made)
    except struct.error:
        raise ImageError(_DAMAGED.format("JPEG 2000")) from None
    return bytes(made[:end])


def _blank(made: bytearray) -> int:
    """Blank what is not needed in every header; where the codestream ends."""
    at, part_end = 2, 0
    while at + 2 <= len(made):
        (marker,) = struct.unpack_from(">H", made, at)
        if marker == _EOC:
            return at + 2
        if marker == _SOD:
            if part_end <= at:  # the last tile part reaches to the end
                end = made.rfind(b"\xff\xd9")
                return end + 2 if end > at else len(made)
            at = part_end
            continue
        (length,) = struct.unpack_from(">H", made, at + 2)
        if length < 2 or at + 2 + length > len(made):
            raise ImageError(_DAMAGED.format("JPEG 2000"))
        if marker == _SOT:
            (part,) = struct.unpack_from(">I", made, at + 6)
            part_end = at + part if part else 0
        elif marker not in _NEEDED:
            made[at + 4 : at + 2 + length] = bytes(length - 2)
        at += 2 + length
    return min(at, len(made))
