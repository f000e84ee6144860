"""One frame of a DICOM image: stored values by the codec of the transfer syntax, then colours.

Runs in the limited child only. H and W are rows and columns, C is 1 or 3.
"""

import io
import warnings
from dataclasses import replace
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
from foveola.images._dicom_object import JPEG_2000, Form
from foveola.images._dicom_streams import believed, stated_by
from foveola.images._headers import Header, read_header
from foveola.images.decode import reduction

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
    """(H, W, 3) uint8 sRGB of one frame, counted from 0; contiguous.

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
    """The form of one frame as its stream has it, which is believed before the header.

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
    """(H, W, C) as stored, for all transfer syntaxes but JPEG Baseline and Extended."""
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
    """The compressed stream of one frame, its fragments joined.

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
