"""One frame of a DICOM image: stored values by the codec of the transfer syntax, then colours.

Runs in the limited child only. H and W are rows and columns, C is 1 or 3.
"""

import warnings
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from foveola.errors import ImageError
from foveola.images import _dicom_colors as colors
from foveola.images._dicom_object import Form
from foveola.images._headers import read_header, segments
from foveola.images.decode import reduction

Pixels = NDArray[np.uint8]
Values = NDArray[Any]  # (H, W, C) of uint8, uint16 or int16

_JPEG = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit}
_JPEG_2000 = {uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2K,
              uid.HTJ2KLosslessRPCL}  # fmt: skip
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
    """(H, W, 3) uint8 sRGB of one frame, counted from 0; contiguous.

    Raises:
        ImageError: no such frame, a transfer syntax that is not read, or damage.
    """
    if not 0 <= frame < form.frames:
        raise ImageError(f"there is no frame {frame + 1}; NumberOfFrames is {form.frames}")
    if form.syntax in _JPEG:
        values = _jpeg(stream_of(found, form, frame), form, frame, min_side)
        form_now = "RGB" if form.samples == 3 else form.photometric
    else:
        values = stored_values(found, form, frame)
        form_now = _after_codec(form)
    pixels = colors.to_srgb(values, found, form, form_now)
    return np.ascontiguousarray(pixels)


def stored_values(found: Dataset, form: Form, frame: int) -> Values:
    """(H, W, C) as stored, for all transfer syntaxes but JPEG Baseline and Extended."""
    if form.syntax in _JPEG_2000:
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


def _after_codec(form: Form) -> str:
    """The photometric interpretation of what the codec gave: JPEG 2000 undoes its own."""
    if form.syntax in _JPEG_2000 and form.photometric in ("YBR_ICT", "YBR_RCT"):
        return "RGB"
    return form.photometric


def stream_of(found: Dataset, form: Form, frame: int) -> bytes:
    """The compressed stream of one frame, its fragments joined.

    Raises:
        ImageError: it is not there.
    """
    table = found.get("ExtendedOffsetTable"), found.get("ExtendedOffsetTableLengths")
    try:
        return get_frame(
            found.PixelData, frame, number_of_frames=form.frames,
            extended_offsets=table if None not in table else None,
        )  # fmt: skip
    except (ValueError, IndexError, OSError):
        raise ImageError(_BROKEN.format("PixelData (7FE0,0010)", frame + 1)) from None


def _by_pydicom(found: Dataset, form: Form, frame: int) -> Values:
    decoder = get_decoder(form.syntax)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd lengths and headers, which are common
            values, _ = decoder.as_array(
                found, index=frame, raw=True, decoding_plugin=_PLUGINS.get(form.syntax, "")
            )
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


# --- JPEG Baseline and Extended ---


def _jpeg(stream: bytes, form: Form, frame: int, min_side: int | None) -> Values:
    """By the decoder of JPEG files, so that a photograph is the same in either wrapping."""
    header = read_header(stream)
    if (header.height, header.width) != (form.rows, form.columns):
        raise ImageError("the JPEG is of another size than Rows (0028,0010) and Columns say")
    if header.bits != 8 or header.channels != form.samples:
        raise ImageError(
            f"the JPEG has {header.channels} channels of {header.bits} bits; expected "
            f"{form.samples} of 8, so export it as JPEG Lossless or JPEG 2000"
        )
    factor = reduction(header, min_side)
    height, width = -(-header.height // factor), -(-header.width // factor)
    try:
        values: Values = simplejpeg.decode_jpeg(
            _with_colour_stated(stream, form), "RGB" if form.samples == 3 else "GRAY",
            min_height=height, min_width=width,
        )  # fmt: skip
    except ValueError:
        raise ImageError(_BROKEN.format("JPEG", frame + 1)) from None
    return values


def _with_colour_stated(stream: bytes, form: Form) -> bytes:
    """A JPEG that does not say whether it holds RGB or YCbCr is told so by an Adobe segment.

    Where it does say so itself it is believed: cameras err in the DICOM header, and no viewer
    would show what they write there.
    """
    said = {(marker, stream[start : start + 5]) for marker, start, _ in segments(stream)}
    if form.samples == 1 or said & {(0xE0, b"JFIF\0"), (0xEE, b"Adobe")}:
        return stream
    transform = 0 if form.photometric == "RGB" else 1
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([transform])
    return stream[:2] + adobe + stream[2:]
