"""What a compressed stream says of its pixels, which is believed before the DICOM header.

Cameras and archives write headers anew and leave the stream as it is, so where the two differ
it is the header that errs. Runs in the limited child only.
"""

import struct
from dataclasses import dataclass, replace

from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from foveola.errors import ImageError
from foveola.images._dicom_numbers import named
from foveola.images._dicom_object import JPEG_2000, Form
from foveola.images._headers import segments

_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # of JPEG, and SOF55 of JPEG-LS
_DCT = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive
_FRAME = -1  # whichever of _SOF there is


@dataclass(frozen=True, kw_only=True)
class Stream:
    """How a stream says that its pixels are stored.

    Attributes:
        rows, columns, samples, bits: of the picture.
        signed: whether samples are; None where the stream can't say.
        colours: RGB or YBR_FULL, of what its decoder gives; None where it does not say.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool | None = None
    colours: str | None = None


def stated_by(stream: bytes, form: Form) -> Stream | None:
    """What the stream of a frame says of itself; None for RLE, which says nothing.

    Raises:
        ImageError: it is damaged.
    """
    try:
        if form.syntax in JPEG_2000:
            return _jpeg_2000(stream)
        if form.syntax in JPEGTransferSyntaxes or form.syntax in JPEGLSTransferSyntaxes:
            return _jpeg(stream)
    except (struct.error, IndexError):
        raise ImageError(f"{named('PixelData')} is damaged or cut off; copy it again") from None
    return None


def believed(form: Form, said: Stream) -> Form:
    """The form with what the stream says in place of what the header says.

    A stream of more bits than are stored may hold the stored ones in its lower bits, so that
    it is believed against the header only where it says that there are fewer.

    Raises:
        ImageError: they are of different sizes or numbers of samples.
    """
    if (said.rows, said.columns) != (form.rows, form.columns):
        raise ImageError("the compressed picture is of another size than Rows (0028,0010) says")
    if said.samples != form.samples:
        raise ImageError(
            f"{named('SamplesPerPixel')} is {form.samples}, but the compressed picture has "
            f"{said.samples}; export the image again"
        )
    photometric = said.colours or form.photometric if form.samples == 3 else form.photometric
    odd = form.samples == 3 and (said.signed or (said.bits > 8 and photometric != "RGB"))
    if odd or (said.signed is None and (said.bits > 8) != (form.allocated > 8)):
        raise ImageError(
            f"{named('BitsAllocated')} is {form.allocated}, but the compressed picture has "
            f"{said.bits} bits, signed or not; export it with 8 bits"
        )
    return replace(
        form,
        bits=min(form.bits, said.bits),
        widest=said.bits,
        photometric=photometric,
        signed=form.signed if said.signed is None else said.signed,
    )


def bare_colours(stream: bytes, form: Form) -> str:
    """Photometric Interpretation of a frame once the boxes around its JPEG 2000 are gone."""
    if form.syntax not in JPEG_2000 or form.samples != 3:
        return form.photometric
    said = _jpeg_2000(stream)
    if _box(stream[: stream.find(_START)]) == _S_YCC:
        return "YBR_FULL"
    own = form.photometric in ("YBR_ICT", "YBR_RCT")
    return form.photometric if own else said.colours or form.photometric


# --- JPEG and JPEG-LS: ITU-T T.81, T.87 ---


def _jpeg(stream: bytes) -> Stream:
    said: dict[int, bytes] = {}
    process = 0
    for marker, start, end in segments(stream):
        process = marker if marker in _SOF else process
        said.setdefault(_FRAME if marker in _SOF else marker, stream[start:end])
    frame = said.get(_FRAME, b"")
    bits, rows, columns, samples = struct.unpack_from(">BHHB", frame)
    colours = None
    if samples == 3:
        colours = _colours(said, frame) if process in _DCT else _colours_lossless(said)
    return Stream(
        rows=rows,
        columns=columns,
        samples=samples,
        bits=bits,
        colours=colours,
        signed=False if process in _DCT else None,
    )


def _colours(said: dict[int, bytes], frame: bytes) -> str | None:
    """As libjpeg tells them: JFIF, then Adobe, then what the components are called.

    Chroma of fewer samples than the first component is none of RGB.
    """
    adobe = said.get(0xEE, b"")
    if said.get(0xE0, b"").startswith(b"JFIF\0"):
        return "YBR_FULL"
    if adobe.startswith(b"Adobe") and len(adobe) >= 12:
        return "RGB" if adobe[11] == 0 else "YBR_FULL"
    parts = [frame[6 + 3 * n : 9 + 3 * n] for n in range(3)]
    if b"".join(part[:1] for part in parts) == b"RGB":
        return "RGB"
    return "YBR_FULL" if parts[0][1] != parts[1][1] else None


def _colours_lossless(said: dict[int, bytes]) -> str | None:
    """CharLS undoes the transform that its segment names; others keep what they were given."""
    transform = said.get(0xE8, b"")
    return "RGB" if transform[:4] == b"mrfx" and transform[4:5] > b"\0" else None


# --- JPEG 2000: ITU-T T.800, annexes A and I ---

_SIZ, _COD, _SOT = 0xFF51, 0xFF52, 0xFF90
_START = b"\xff\x4f\xff\x51"
_S_RGB, _S_YCC = 16, 18  # EnumCS of a box "colr" of method 1


def _jpeg_2000(stream: bytes) -> Stream:
    start = stream.find(_START)
    if start < 0:
        raise ImageError(f"{named('PixelData')} holds no JPEG 2000; copy it again")
    parts = _main_header(stream, start + 2)
    width, height, left, top = struct.unpack_from(">4I", parts[_SIZ], 2)
    (samples,) = struct.unpack_from(">H", parts[_SIZ], 34)
    components = [parts[_SIZ][36 + 3 * n : 39 + 3 * n] for n in range(samples)]
    deep = components[0][0]
    return Stream(
        rows=height - top,
        columns=width - left,
        samples=samples,
        bits=(deep & 0x7F) + 1,
        signed=bool(deep & 0x80),
        colours=_colours_2000(stream[:start], bool(parts[_COD][4]), components),
    )


def _main_header(stream: bytes, at: int) -> dict[int, bytes]:
    """The segments before the first tile."""
    parts: dict[int, bytes] = {}
    marker, length = struct.unpack_from(">HH", stream, at)
    while marker != _SOT:
        if length < 2:
            raise IndexError
        parts.setdefault(marker, stream[at + 4 : at + 2 + length])
        at += 2 + length
        marker, length = struct.unpack_from(">HH", stream, at)
    if not {_SIZ, _COD} <= parts.keys():
        raise IndexError
    return parts


def _colours_2000(boxes: bytes, transformed: bool, components: list[bytes]) -> str | None:
    """What OpenJPEG gives: it undoes the transform of the stream, and sYCC.

    It also takes for sYCC what has fewer samples of chroma.
    """
    box, fewer = _box(boxes), components[-1][1:] != components[0][1:]
    ycc = box == _S_YCC
    if transformed and (ycc or fewer):
        raise ImageError(
            "the JPEG 2000 says both that it is sYCC and that its colours were transformed; export the image again"
        )
    return "RGB" if transformed or ycc or fewer or box == _S_RGB else None


def _box(boxes: bytes) -> int | None:
    """The colour space that the boxes of a JP2 name by its number."""
    at = boxes.find(b"colr\1")
    return int.from_bytes(boxes[at + 7 : at + 11], "big") if at >= 0 else None
