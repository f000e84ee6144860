"""One frame of a DICOM image: stored values by the codec of the transfer syntax, then colours.

What a compressed stream says of its pixels is believed before the header: cameras and archives write
headers anew and leave the stream as it is, so where the two differ it is the header that errs.

Runs in the limited child only. H and W are rows and columns, C is 1 or 3.
"""

import io
import struct
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from foveola.errors import ImageError
from foveola.images import _dicom_colors as colors
from foveola.images._dicom_object import JPEG_2000, Form, camera_of, eye_of, form_of, named, read_object
from foveola.images.decode import reduction
from foveola.images.headers import Header, read_header, segments
from foveola.images.limits import Limits

Pixels = NDArray[np.uint8]
Values = NDArray[Any]  # (H, W, C) of uint8, uint16 or int16

_JPEG = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit}
_PLUGINS = {
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.RLELossless: "pydicom",
}
_PLAIN = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
_BROKEN = "the {} of frame {} is damaged or cut off; copy or send it again"


def decode_frame(found: Dataset, form: Form, frame: int, min_side: int | None = None) -> Pixels:
    """Decode one frame, counted from 0, to (H, W, 3) uint8 sRGB; contiguous.

    Raises:
        ImageError: no such frame, a transfer syntax that is not read, or damage.
    """
    if not 0 <= frame < form.frames:
        raise ImageError(f"there is no frame {frame + 1}; NumberOfFrames is {form.frames}")
    form = as_stored(found, form, frame)
    size = Header(format="DICOM", width=form.columns, height=form.rows)
    factor = 1 if form.syntax in _JPEG else reduction(size, min_side)
    if form.syntax in _JPEG:
        values = _jpeg(stream_of(found, form, frame), form, frame, min_side)
        if form.samples == 3:
            form = replace(form, photometric="RGB")
    elif form.syntax in JPEG_2000 and factor > 1 and form.widest == 8:
        values, factor = _smaller_jpeg_2000(stream_of(found, form, frame), frame, factor), 1
    else:
        values = stored_values(found, form, frame)
    return colors.to_srgb(values, found, _widened(form, values), factor)


def as_stored(found: Dataset, form: Form, frame: int) -> Form:
    """Return the form of one frame as its stream has it, which is believed before the header.

    Its photometric interpretation is that of what the codec gives.

    Raises:
        ImageError: the stream is damaged, or of another size or number of samples.
    """
    said = None
    if form.syntax.is_encapsulated:
        said = stated_by(stream_of(found, form, frame), form)
    form = form if said is None else believed(form, said)
    # JPEG 2000 undoes its own transform, and one that it does not have nobody has made.
    undone = form.syntax in JPEG_2000 and form.photometric in ("YBR_ICT", "YBR_RCT")
    return replace(form, photometric="RGB") if undone else form


def _widened(form: Form, values: Values) -> Form:
    """With all bits of the stream where a sample needs more than the header says are stored."""
    low, high = int(values.min()), int(values.max())
    needed = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + form.signed
    return form if needed <= form.bits else replace(form, bits=form.widest)


def stored_values(found: Dataset, form: Form, frame: int) -> Values:
    """Decode (H, W, C) values as stored, for all transfer syntaxes but JPEG Baseline and Extended."""
    if form.syntax in JPEG_2000:
        values = _jpeg_2000(stream_of(found, form, frame), frame)
    elif form.syntax in _PLUGINS or form.syntax in _PLAIN:
        values = _by_pydicom(found, form, frame)
    else:
        name = form.syntax.name if form.syntax.name != form.syntax else "unknown"
        raise ImageError(
            f"TransferSyntaxUID (0002,0010) is {name}, which is not read; export it uncompressed, "
            "or as JPEG, JPEG-LS, JPEG 2000 or RLE"
        )
    values = values if values.ndim == 3 else values[..., None]
    if values.shape != (form.rows, form.columns, form.samples):
        raise ImageError("the compressed picture is of another size than Rows (0028,0010) says")
    return _only_bits(values, form)


def _only_bits(values: Values, form: Form) -> Values:
    """Without what may lie in the unused upper bits, such as an overlay of old cameras."""
    plain = form.syntax in _PLAIN or form.syntax == uid.RLELossless
    if not plain or form.bits == 8 * values.itemsize:
        return values
    spare = 8 * values.itemsize - form.bits
    return (values << spare) >> spare  # two's complement keeps its sign


def stream_of(found: Dataset, form: Form, frame: int) -> bytes:
    """Return the compressed stream of one frame, its fragments joined.

    Raises:
        ImageError: it is not there.
    """
    table = found.get("ExtendedOffsetTable"), found.get("ExtendedOffsetTableLengths")
    try:
        return get_frame(
            found.PixelData, frame, number_of_frames=form.frames, extended_offsets=table if None not in table else None
        )
    except (ValueError, IndexError, OSError):
        raise ImageError(_BROKEN.format("PixelData (7FE0,0010)", frame + 1)) from None


def _by_pydicom(found: Dataset, form: Form, frame: int) -> Values:
    decoder = get_decoder(form.syntax)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd lengths and headers, which are common
            values, _ = decoder.as_array(found, index=frame, raw=True, decoding_plugin=_PLUGINS.get(form.syntax, ""))
    except MemoryError:
        raise
    except Exception:  # plugins raise what they like, and quote the file
        raise ImageError(_BROKEN.format("PixelData (7FE0,0010)", frame + 1)) from None
    return values


def _jpeg_2000(stream: bytes, frame: int) -> Values:
    from openjpeg.utils import decode

    try:
        values: Values = decode(stream)
    except (RuntimeError, ValueError, OSError):
        raise ImageError(_BROKEN.format("JPEG 2000", frame + 1)) from None
    return values


def _smaller_jpeg_2000(stream: bytes, frame: int, factor: int) -> Values:
    """Of 8 bits, decoded at a part of its size, which takes as much less memory."""
    from PIL import Jpeg2KImagePlugin

    try:
        image = Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(stream))
        image.reduce = factor.bit_length() - 1
        values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError):
        raise ImageError(_BROKEN.format("JPEG 2000", frame + 1)) from None
    return values if values.ndim == 3 else values[..., None]


# --- JPEG Baseline and Extended ---


def _jpeg(stream: bytes, form: Form, frame: int, min_side: int | None) -> Values:
    """By the decoder of JPEG files, so that a photograph is the same in either wrapping."""
    header = read_header(stream)
    if header.bits != 8:
        raise ImageError(f"the JPEG has {header.bits} bits; expected 8, so export it as JPEG Lossless or JPEG 2000")
    factor = reduction(header, min_side)
    height, width = -(-header.height // factor), -(-header.width // factor)
    try:
        values: Values = simplejpeg.decode_jpeg(
            _with_colour_stated(stream, form),
            "RGB" if form.samples == 3 else "GRAY",
            min_height=height,
            min_width=width,
        )
    except ValueError:
        raise ImageError(_BROKEN.format("JPEG", frame + 1)) from None
    return values


def _with_colour_stated(stream: bytes, form: Form) -> bytes:
    """A JPEG with an Adobe segment that says what its colours are.

    `form` has them from the stream where it says so; libjpeg might guess otherwise.
    """
    if form.samples == 1:
        return stream
    transform = 0 if form.photometric == "RGB" else 1
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([transform])
    return stream[:2] + adobe + stream[2:]


# --- what a stream says ---


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
    """Read what the stream of a frame says of itself; None for RLE, which says nothing.

    Raises:
        ImageError: it is damaged.
    """
    try:
        if form.syntax in JPEG_2000:
            return _jpeg_2000_stated(stream)
        if form.syntax in JPEGTransferSyntaxes or form.syntax in JPEGLSTransferSyntaxes:
            return _jpeg_stated(stream)
    except (struct.error, IndexError):
        raise ImageError(f"{named('PixelData')} is damaged or cut off; copy it again") from None
    return None


def believed(form: Form, said: Stream) -> Form:
    """Return the form with what the stream says in place of what the header says.

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
    """Return the Photometric Interpretation of a frame once the boxes around its JPEG 2000 are gone."""
    if form.syntax not in JPEG_2000 or form.samples != 3:
        return form.photometric
    said = _jpeg_2000_stated(stream)
    if _box(stream[: stream.find(_START)]) == _S_YCC:
        return "YBR_FULL"
    own = form.photometric in ("YBR_ICT", "YBR_RCT")
    return form.photometric if own else said.colours or form.photometric


# --- JPEG and JPEG-LS: ITU-T T.81, T.87 ---


def _jpeg_stated(stream: bytes) -> Stream:
    said: dict[int, bytes] = {}
    process = 0
    for marker, start, end in segments(stream):
        process = marker if marker in _SOF else process
        said.setdefault(_FRAME if marker in _SOF else marker, stream[start:end])
    frame = said.get(_FRAME, b"")
    bits, rows, columns, samples = struct.unpack_from(">BHHB", frame)
    colours = None
    if samples == 3:
        transform = said.get(0xE8, b"")
        # CharLS undoes the transform that its segment names; others keep what they were given.
        undone = "RGB" if transform[:4] == b"mrfx" and transform[4:5] > b"\0" else None
        colours = _colours(said, frame) if process in _DCT else undone
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


# --- JPEG 2000: ITU-T T.800, annexes A and I ---

_SIZ, _COD, _SOT = 0xFF51, 0xFF52, 0xFF90
_START = b"\xff\x4f\xff\x51"
_S_RGB, _S_YCC = 16, 18  # EnumCS of a box "colr" of method 1


def _jpeg_2000_stated(stream: bytes) -> Stream:
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


# --- what the parent calls ---


def facts(data: bytes, *, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the fields of `DicomFacts`."""
    found = read_object(data, Limits(**limits))
    form = form_of(found, Limits(**limits))
    return {
        "width": form.columns,
        "height": form.rows,
        "frames": form.frames,
        "eye": eye_of(found),
        "camera": " ".join(filter(None, camera_of(found) or ())) or None,
    }, b""


def decode(data: bytes, *, limits: dict[str, Any], min_side: int | None, frame: int) -> tuple[dict[str, Any], bytes]:
    """Return the shape and the bytes of one frame's pixels."""
    found = read_object(data, Limits(**limits))
    form = form_of(found, Limits(**limits))
    pixels = decode_frame(found, form, frame, min_side)
    return {"shape": pixels.shape}, pixels.tobytes()
