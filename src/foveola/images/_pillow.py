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
    Image,
    ImageFile,
    ImageOps,
    ImagePalette,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from foveola.errors import ImageError
from foveola.images.color import Rows, eight_bits, strips, through_alpha, to_rgb, to_srgb, top_of
from foveola.images.headers import NO_MEMORY, Header, Page, Tag, starting_at

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
_COLOR_MAP = 320  # and its tag of a palette


def decode(data: bytes, header: Header, factor: int = 1) -> Pixels:
    """Decode to (H // factor, W // factor, 3) uint8 sRGB, as stored (not yet upright).

    Args:
        data: the file.
        header: of it.
        factor: 1, 2, 4 or 8; pixels are means of squares of that side, but of JPEG, which is
            decoded at that scale.

    Raises:
        ImageError: damaged, cut off, or of a kind that has no clear meaning in 8 bits.
    """
    if header.page is not None:
        _plain_samples(header.page)
        data = starting_at(data, header.page)
    with _one_sentence(header):
        image = _open(data, header)
        if header.format == "JPEG" and factor > 1:
            image.draft(None, (-(-header.width // factor), -(-header.height // factor)))
            factor = 1
        return _assembled(_rows(data, header, image), image.height, image.width, factor)


def pixels_of(image: Image.Image) -> Pixels:
    """Return the (H, W, 3) uint8 sRGB pixels of an image that Pillow has opened, upright.

    Raises:
        ImageError: it is damaged, or of a kind that has no clear meaning in 8 bits.
    """
    try:
        upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"the PIL image can't be loaded ({error}); open its file again") from error
    return _assembled(to_rgb(upright), upright.height, upright.width, 1)


def _rows(data: bytes, header: Header, image: ImageFile.ImageFile) -> Rows:
    if header.page is not None and _for_opencv(header, header.page):
        return _by_opencv(data, header, header.page, image.info.get("icc_profile"))
    if header.bits in (12, 16):
        return _sixteen_bits(data, header, image)
    image.load()
    if header.page is not None and image.mode in ("P", "PA"):
        _true_palette(image)
    return to_rgb(image)


def _assembled(rows: Rows, height: int, width: int, factor: int) -> Pixels:
    """The whole picture from its rows, each side divided by the factor."""
    made = np.empty((height // factor, width // factor, 3), np.uint8)
    for top, bottom in strips(len(made) * factor, width, factor):
        part = rows(top, bottom)
        if factor > 1:
            size = made.shape[1], (bottom - top) // factor
            part = cv2.resize(  # type: ignore[assignment]
                part[:, : made.shape[1] * factor], size, interpolation=cv2.INTER_AREA
            )
        made[top // factor : bottom // factor] = part
    return made


def _true_palette(image: ImageFile.ImageFile) -> None:
    """Take entries that all lie below 256 as they are; Pillow takes the upper half of 16 bits.

    Some programs write them so, and libtiff, which reads what is compressed, knows them too.
    """
    entries = image.tag_v2.get(_COLOR_MAP, ())  # type: ignore[attr-defined]
    if entries and max(entries) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(entries))
        image.load()  # makes it known to what converts


def _plain_samples(page: Page) -> None:
    bits, kind = max(page.tags.get(Tag.BITS, (1,))), page.get(Tag.FORMAT, 1)
    if kind in (_FLOAT, _SIGNED) or bits > 16:
        words = {_FLOAT: "floating-point", _SIGNED: "signed"}.get(kind, f"{bits}-bit")
        raise ImageError(
            f"this TIFF holds {words} samples, whose black and white are not stated; export it with 8 or 16 bits"
        )
    if page.get(Tag.SAMPLES, 1) > 6:
        raise ImageError(f"this TIFF has {page.get(Tag.SAMPLES)} samples a pixel; export it as RGB or grey")
    if page.get(Tag.TILE_WIDTH) * page.get(Tag.TILE_HEIGHT) > 4 * max(page.pixels, 2**20):
        raise ImageError("the TIFF has tiles far larger than its picture; export it again")


def _open(data: bytes, header: Header) -> ImageFile.ImageFile:
    with _no_warnings():
        image = _READERS[header.format](io.BytesIO(data))
        if image.size != (header.width, header.height):
            raise ImageError(f"the {header.format} states two sizes; export it again")
        if header.format == "TIFF":
            image.load_prepare()  # warns of large pictures; our limit has been kept already
            # It would read all directories again, with a warning for each odd tag.
            image.load_end = lambda: None  # type: ignore[method-assign]
    return image


# --- 16-bit PNG; grey TIFF of 12 and 16 bits ---


def _sixteen_bits(data: bytes, header: Header, image: ImageFile.ImageFile) -> Rows:
    icc = image.info.get("icc_profile")
    if header.channels == 2:
        image.load()
        return to_rgb(image)  # Pillow gives the upper halves of grey with alpha, no more
    if header.page is not None and header.page.get(Tag.PHOTOMETRIC) == _PALETTE:
        raise ImageError("this TIFF has a palette for 16-bit samples; export it as RGB")
    if header.channels == 1:
        return _grey(np.asarray(image), header, icc)
    if header.format == "TIFF":
        raise ImageError("this TIFF holds 12-bit colours or the like; export it with 8 or 16 bits")
    return _both_halves(data, image, icc)


def _grey(values: NDArray[np.uint16], header: Header, icc: bytes | None) -> Rows:
    """The rows of (H, W) uint16."""
    if values.dtype != np.uint16:
        raise ImageError("the pixels are of an unusual kind; export with 8 or 16 bits")
    top_value = top_of(values, int(values.max()), _stated(header))
    negative = header.page and header.page.get(Tag.PHOTOMETRIC, 1) == _WHITE_IS_ZERO

    def rows(top: int, bottom: int) -> Pixels:
        grey = eight_bits(values[top:bottom], top_value)
        return to_srgb(np.repeat((255 - grey if negative else grey)[..., None], 3, axis=-1), icc)

    return rows


def _stated(header: Header) -> int | None:
    """The highest sample that the file says it holds."""
    if header.bits == 12:
        return 4095
    return header.page.get(Tag.MAX_VALUE) if header.page else None


def _both_halves(data: bytes, image: ImageFile.ImageFile, icc: bytes | None) -> Rows:
    """The rows of a 16-bit PNG in colour: Pillow unpacks one byte of two, so read it twice.

    OpenCV would do it at once, but its libpng writes to the terminal on damaged files.
    """
    with _no_warnings():
        again = PngImagePlugin.PngImageFile(io.BytesIO(data))
    # PNG has the upper byte first; read as if it came last, the lower one is kept.
    again.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in again.tile]

    def values(top: int, bottom: int) -> NDArray[np.uint16]:
        box = (0, top, image.width, bottom)
        upper = np.asarray(image.crop(box)).astype(np.uint16) << 8
        both: NDArray[np.uint16] = upper | np.asarray(again.crop(box))
        return both

    few = range(0, image.height, max(1, image.height // 256))  # single rows, some 256 of them
    parts = [values(top, top + 1)[..., :3] for top in few]
    highest = max(int(values(*strip)[..., :3].max()) for strip in strips(image.height, image.width))
    top_value = top_of(np.concatenate(parts)[:, ::4], highest)

    def seen(top: int, bottom: int) -> tuple[Pixels, Pixels]:
        part = values(top, bottom)
        pixels = to_srgb(eight_bits(part[..., :3], top_value), icc)
        return pixels, eight_bits(part[..., -1], 65535)

    if image.mode == "RGBA":
        return through_alpha(seen, image.height, image.width)
    return lambda top, bottom: seen(top, bottom)[0]


# --- TIFF through OpenCV ---

_WHITE_IS_ZERO, _RGB, _PALETTE = 0, 2, 3  # TIFF's PhotometricInterpretation
_SIMPLE = {_WHITE_IS_ZERO, 1, _RGB, _PALETTE, 6}  # and black is zero, palette, YCbCr
_PACKED = {2, 3, 4, 5, 7, 8, 32946}  # compressions that libtiff undoes


def _for_opencv(header: Header, page: Page) -> bool:
    """16-bit colour, and what is compressed: Pillow's libtiff writes faults to the terminal."""
    if header.bits == 16 and header.channels >= 3:
        return True
    simple = page.get(Tag.PHOTOMETRIC) in _SIMPLE and page.get(Tag.COMPRESSION, 1) in _PACKED
    return simple and (header.bits, header.channels) in {(1, 1), (8, 1), (8, 3), (16, 1)}


def _by_opencv(data: bytes, header: Header, page: Page, icc: bytes | None) -> Rows:
    colour = header.channels >= 3
    if header.bits == 16 and colour and (page.get(Tag.PHOTOMETRIC), page.get(Tag.PLANAR, 1)) != (_RGB, 1):
        raise ImageError("this 16-bit TIFF does not hold plain RGB in one plane; export as RGB, pixel by pixel")
    values = _read_by_opencv(data, header)
    if values.dtype == np.uint16 and values.ndim == 2:
        return _grey(values, header, icc)
    return _rows_of(values, header, page, icc)


def _rows_of(values: NDArray[Any], header: Header, page: Page, icc: bytes | None) -> Rows:
    """The rows of (H, W) uint8 or of (H, W, 3 or 4) BGR in 8 or 16 bits."""
    deep = values.dtype == np.uint16
    thin = values[::4, ::4, :3] if deep else values
    top_value = top_of(thin, int(values[..., :3].max()), _stated(header)) if deep else 255

    def seen(top: int, bottom: int) -> tuple[Pixels, Pixels]:
        part = values[top:bottom]
        colours = part[..., 2::-1] if part.ndim == 3 else np.repeat(part[..., None], 3, axis=-1)
        alpha = eight_bits(part[..., 3], 65535) if deep and values.shape[2] == 4 else part
        colours = np.ascontiguousarray(colours)
        return to_srgb(eight_bits(colours, top_value) if deep else colours, icc), alpha

    # Extra sample 2 is an alpha still to be applied, 1 is in the colours, 0 could be anything.
    if deep and values.shape[2] == 4 and page.get(Tag.EXTRA) == 2:
        return through_alpha(seen, *values.shape[:2])
    return lambda top, bottom: seen(top, bottom)[0]


def _read_by_opencv(data: bytes, header: Header) -> NDArray[Any]:
    """(H, W) or (H, W, 3 or 4) BGR, uint8 or uint16."""
    with _quiet_opencv():
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype not in (np.uint8, np.uint16):
        raise ValueError("libtiff can't read it")
    if values.shape[:2] != (header.height, header.width):
        raise ImageError("the TIFF states two sizes; export it again")
    return values


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
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "no reason given"
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
