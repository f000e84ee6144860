"""Decoding by Pillow and OpenCV, with all their faults turned into one sentence."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from foveola.errors import ImageError
from foveola.images import _tiff
from foveola.images._headers import NO_MEMORY, Header
from foveola.images.color import eight_bits, over_black, to_rgb, to_srgb

Pixels = NDArray[np.uint8]

_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
_OPENCV = threading.Lock()
_WARNINGS = threading.Lock()
_FLOAT, _SIGNED = 3, 2  # TIFF's SampleFormat


def decode(data: bytes, header: Header) -> Pixels:
    """(H, W, 3) uint8 sRGB, as stored (not yet upright).

    Raises:
        ImageError: damaged, cut off, or of a kind that has no clear meaning in 8 bits.
    """
    if header.page is not None:
        _plain_samples(header.page)
        data = _tiff.starting_at(data, header.page)
    with _one_sentence(header):
        image = _open(data, header)
        if header.bits in (12, 16):
            return _sixteen_bits(data, header, image)
        image.load()
        return to_rgb(image)


def _plain_samples(page: _tiff.Page) -> None:
    bits, kind = max(page.tags.get(_tiff.BITS, (1,))), page.get(_tiff.FORMAT, 1)
    if kind in (_FLOAT, _SIGNED) or bits > 16:
        words = {_FLOAT: "floating-point", _SIGNED: "signed"}.get(kind, f"{bits}-bit")
        raise ImageError(
            f"this TIFF holds {words} samples, whose black and white are not stated; "
            "export it with 8 or 16 bits"
        )
    if page.get(_tiff.TILE_WIDTH) * page.get(_tiff.TILE_HEIGHT) > 4 * max(page.pixels, 2**20):
        raise ImageError("the TIFF has tiles far larger than its picture; export it again")


def _open(data: bytes, header: Header) -> ImageFile.ImageFile:
    with _no_warnings():
        image = _READERS[header.format](io.BytesIO(data))
        if image.size != (header.width, header.height):
            raise ImageError(f"the {header.format} states two sizes; export it again")
        if header.format == "TIFF":
            image.load_prepare()  # warns of large pictures; our limit has been kept already
    return image


def _sixteen_bits(data: bytes, header: Header, image: ImageFile.ImageFile) -> Pixels:
    icc = image.info.get("icc_profile")
    if header.format == "PNG" and header.channels == 2:
        image.load()
        return to_rgb(image)  # Pillow gives the upper halves of grey with alpha, no more
    if header.channels == 1:
        return to_srgb(_sixteen_grey(header, image), icc)
    values = _opencv(data, header) if header.format == "TIFF" else _both_halves(data, image)
    pixels = to_srgb(eight_bits(values[..., :3], _stated(header)), icc)
    return pixels if values.shape[2] == 3 else over_black(pixels, eight_bits(values[..., 3], 65535))


def _stated(header: Header) -> int | None:
    """The highest sample that the file says it holds."""
    if header.bits == 12:
        return 4095
    return header.page.get(_tiff.MAX_VALUE) if header.page else None


def _sixteen_grey(header: Header, image: ImageFile.ImageFile) -> Pixels:
    values = np.asarray(image)
    if values.dtype != np.uint16:
        raise ImageError(f"the pixels are of an unusual kind ({image.mode}); export with 8 bits")
    grey = eight_bits(values, _stated(header))
    if header.page and header.page.get(_tiff.PHOTOMETRIC, 1) == 0:  # white is zero
        grey = 255 - grey
    return np.repeat(grey[..., None], 3, axis=-1)


def _both_halves(data: bytes, image: ImageFile.ImageFile) -> NDArray[np.uint16]:
    """(H, W, 3 or 4) of a 16-bit PNG: Pillow unpacks one byte of two, so read it twice.

    OpenCV would do it at once, but its libpng writes to the terminal on damaged files.
    """
    upper = np.asarray(image).astype(np.uint16) << 8
    with _no_warnings():
        again = PngImagePlugin.PngImageFile(io.BytesIO(data))
    # PNG has the upper byte first; read as if it came last, the lower one is kept.
    again.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in again.tile]
    values: NDArray[np.uint16] = upper | np.asarray(again)
    return values


def _opencv(data: bytes, header: Header) -> NDArray[np.uint16]:
    """(H, W, 3 or 4) RGB of a 16-bit colour TIFF."""
    page = header.page
    if page is None or page.get(_tiff.PHOTOMETRIC) != 2 or page.get(_tiff.PLANAR, 1) != 1:
        raise ImageError(
            "this 16-bit TIFF does not hold plain RGB in one plane; export as RGB, pixel by pixel"
        )
    with _quiet_opencv():
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise ValueError("OpenCV can't read it")
    if values.shape[:2] != (header.height, header.width):
        raise ImageError("the TIFF states two sizes; export it again")
    order = [2, 1, 0, 3][: values.shape[2]]
    return np.asarray(values[..., order], dtype=np.uint16)


@contextmanager
def _one_sentence(header: Header) -> Iterator[None]:
    """Whatever a decoder raises over a bad file leaves as an ImageError.

    Their faults have no common base: OSError, SyntaxError, struct.error, cv2.error, even
    AttributeError from half-read headers. All code inside works on the file's content only.
    """
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(NO_MEMORY) from error
    except Exception as error:
        reason = (
            str(error).strip().splitlines()[0][:120] if str(error).strip() else "no reason given"
        )
        raise ImageError(
            f"the {header.format} can't be decoded, it is damaged, cut off or of a rare kind "
            f"({reason}); copy it again or export it as PNG"
        ) from error


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep Pillow's remarks on odd files from the user; one thread at a time: they are global."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    logging = cv2.utils.logging
    with _OPENCV:
        before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            logging.setLogLevel(before)
