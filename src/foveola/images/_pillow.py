"""Decoding by Pillow and OpenCV, with all their faults turned into one sentence."""

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
        if header.page is not None and _for_opencv(header, header.page):
            return _by_opencv(data, header, header.page, image.info.get("icc_profile"))
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
    if page.get(_tiff.SAMPLES, 1) > 6:
        raise ImageError(
            f"this TIFF has {page.get(_tiff.SAMPLES)} samples a pixel; export it as RGB or grey"
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


# --- 16-bit PNG; grey TIFF of 12 and 16 bits ---


def _sixteen_bits(data: bytes, header: Header, image: ImageFile.ImageFile) -> Pixels:
    icc = image.info.get("icc_profile")
    if header.channels == 2:
        image.load()
        return to_rgb(image)  # Pillow gives the upper halves of grey with alpha, no more
    if header.channels == 1:
        return to_srgb(_grey(np.asarray(image), header), icc)
    if header.format == "TIFF":
        raise ImageError("this TIFF holds 12-bit colours or the like; export it with 8 or 16 bits")
    values = _both_halves(data, image)
    pixels = to_srgb(eight_bits(values[..., :3]), icc)
    return pixels if values.shape[2] == 3 else over_black(pixels, eight_bits(values[..., 3], 65535))


def _grey(values: NDArray[np.uint16], header: Header) -> Pixels:
    """(H, W) uint16 -> (H, W, 3) uint8."""
    if values.dtype != np.uint16:
        raise ImageError("the pixels are of an unusual kind; export with 8 or 16 bits")
    grey = eight_bits(values, _stated(header))
    if header.page and header.page.get(_tiff.PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        grey = 255 - grey
    return np.repeat(grey[..., None], 3, axis=-1)


def _stated(header: Header) -> int | None:
    """The highest sample that the file says it holds."""
    if header.bits == 12:
        return 4095
    return header.page.get(_tiff.MAX_VALUE) if header.page else None


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


# --- TIFF through OpenCV ---

_WHITE_IS_ZERO, _RGB = 0, 2  # TIFF's PhotometricInterpretation
_SIMPLE = {_WHITE_IS_ZERO, 1, _RGB, 3, 6}  # and black is zero, palette, YCbCr
_FLAT, _PACKED = {1, 32773}, {2, 3, 4, 5, 7, 8, 32946}  # compressions without, with libtiff


def _for_opencv(header: Header, page: _tiff.Page) -> bool:
    """16-bit colour, and what is compressed: Pillow's libtiff writes faults to the terminal."""
    if header.bits == 16 and header.channels >= 3:
        return True
    simple = page.get(_tiff.PHOTOMETRIC) in _SIMPLE and page.get(_tiff.COMPRESSION, 1) in _PACKED
    return simple and (header.bits, header.channels) in {(1, 1), (8, 1), (8, 3), (16, 1)}


def _by_opencv(data: bytes, header: Header, page: _tiff.Page, icc: bytes | None) -> Pixels:
    colour = header.channels >= 3
    if (
        header.bits == 16
        and colour
        and (page.get(_tiff.PHOTOMETRIC), page.get(_tiff.PLANAR, 1)) != (_RGB, 1)
    ):
        raise ImageError(
            "this 16-bit TIFF does not hold plain RGB in one plane; export as RGB, pixel by pixel"
        )
    values = _read_by_opencv(data, header)
    if values.dtype == np.uint16 and values.ndim == 2:
        return to_srgb(_grey(values, header), icc)
    if values.ndim == 2:
        return to_srgb(np.repeat(values[..., None], 3, axis=-1), icc)
    if values.dtype == np.uint8:
        return to_srgb(values, icc)
    pixels = to_srgb(eight_bits(values[..., :3], _stated(header)), icc)
    # Extra sample 2 is an alpha still to be applied, 1 is in the colours, 0 could be anything.
    if values.shape[2] == 4 and page.get(_tiff.EXTRA) == 2:
        return over_black(pixels, eight_bits(values[..., 3], 65535))
    return pixels


def _read_by_opencv(data: bytes, header: Header) -> NDArray[Any]:
    """(H, W) or (H, W, 3 or 4) RGB, uint8 or uint16."""
    with _quiet_opencv():
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype not in (np.uint8, np.uint16):
        raise ValueError("libtiff can't read it")
    if values.shape[:2] != (header.height, header.width):
        raise ImageError("the TIFF states two sizes; export it again")
    if values.ndim == 3:
        values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    return np.ascontiguousarray(values)


# --- Faults and remarks of the libraries ---


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
    log = logging.getLogger("PIL.TiffImagePlugin")  # shows on a terminal where no log is set up
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, log.disabled = log.disabled, True
        try:
            yield
        finally:
            log.disabled = before


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    log = cv2.utils.logging
    with _OPENCV:
        before = log.setLogLevel(log.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            log.setLogLevel(before)
