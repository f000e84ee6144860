"""Decode a photograph within bounds: bytes in, upright 8-bit sRGB out.

    bytes -> kind by its first bytes -> header, limits -> decoder -> sRGB -> upright

JPEG goes through libjpeg-turbo (simplejpeg), at a reduced scale where that will do. The rest
goes through Pillow's readers, called by name so that a file can't choose its own; 16-bit
colour TIFF goes through OpenCV, as Pillow keeps only the upper eight bits of it.
"""

import os
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, Union

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from foveola.errors import FoveolaError, ImageError
from foveola.images.headers import NO_MEMORY, Header, read_header
from foveola.images.kinds import is_dicom
from foveola.images.limits import (
    DEFAULT_LIMITS,
    LARGE,
    MEMORY,
    Limits,
    bytes_needed,
    checked_header,
    checked_memory,
    too_many_bytes,
)
from foveola.records import Eye
from foveola.resources import AnyPath

if TYPE_CHECKING:
    from PIL.Image import Image

    from foveola.images.dicom import DicomFacts

Pixels = NDArray[np.uint8]


class Size(NamedTuple):
    """What `peek` finds: pixels as seen upright, and JPEG, PNG, TIFF, WebP, BMP or DICOM."""

    width: int
    height: int
    format: str


_BIG = 16 * 2**20  # bytes of a file, of which one at a time is read
_BIG_FILE = threading.Lock()

# What libjpeg calls a fault and Pillow reads without loss: odd bytes after the picture, a
# field that some cameras fill in wrongly, a rare subsampling, a colour tag of later date.
_HARMLESS = (
    "extraneous bytes before marker 0xd9",
    "Invalid SOS parameters",
    "Could not determine subsampling",
    "Unknown Adobe color transform",
)


def decode(
    source: AnyPath | bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    min_side: int | None = None,
    name: str | None = None,
    frame: int = 0,
) -> Pixels:
    """Decode a photograph: JPEG, PNG, TIFF, WebP, BMP or DICOM, whatever its name says.

    EXIF orientation and colour profile are applied; grey, palette, CMYK and 16-bit pictures
    come as 8-bit RGB; what is transparent lies over black. See docs/reference/photographs.md.

    Args:
        source: the path of a file, or its bytes.
        limits: what the file may cost.
        min_side: the pixels of the shorter side that will do. A JPEG is then decoded at 1/2,
            1/4 or 1/8 of its size, as small as this allows; others only above 16 million pixels.
        name: what an error calls the photograph when source is bytes.
        frame: of a DICOM image of several, from 0.

    Returns:
        (H, W, 3) uint8, RGB in sRGB, upright, contiguous and writable.

    Raises:
        ImageError: not such a file, beyond a limit, damaged or cut off. The sentence begins
            with the file's name (without its folders, which may name a person).
        MissingExtraError: it is DICOM, and the library that reads it is not installed.
        ValueError: min_side is below 1, or source is neither.
    """
    if min_side is not None and min_side < 1:
        raise ValueError(f"min_side is {min_side}; expected at least 1")
    data, name = _opened(source, limits, name)
    with naming(name):
        if is_dicom(data):
            return _dicom(data, limits, min_side, frame)
        header = checked_header(data, limits)
        factor = reduction(header, min_side)
        with MEMORY.hold(checked_memory(data, header, factor, limits)):
            pixels = _jpeg(data, header, factor) if header.format == "JPEG" else None
            if pixels is None:
                # Most photographs are JPEGs, and a command that reads one should not wait for Pillow.
                from foveola.images import _pillow

                pixels = _pillow.decode(data, header, factor)
            return _upright(pixels, header)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let what is wrong with a photograph in this block begin with its name."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error.__cause__


def same_scale(data: bytes, one: int, other: int) -> bool:
    """Return whether `decode` gives the same pixels for two values of min_side.

    So that what is needed in two sizes is decoded once: PNG, TIFF and the like up to 16 million
    pixels, and what is reduced by the same factor for both.

    Raises:
        ImageError: the header is not that of a photograph.
    """
    if is_dicom(data):
        return False  # only its child knows whether there is a JPEG inside
    header = read_header(data)
    return reduction(header, one) == reduction(header, other)


def peek(source: AnyPath | bytes, *, limits: Limits = DEFAULT_LIMITS) -> Size:
    """Read size and format from the header alone; the pixels may still turn out damaged.

    Raises:
        ImageError: as from `decode`, as far as the header shows it.
    """
    data, name = _opened(source, limits)
    with naming(name):
        if (facts := dicom_facts(data, limits)) is not None:
            return Size(facts.width, facts.height, "DICOM")
        header = checked_header(data, limits)
    sides = header.width, header.height
    return Size(*(sides if header.orientation < 5 else sides[::-1]), header.format)


def _opened(source: AnyPath | bytes, limits: Limits, name: str | None = None) -> tuple[bytes, str]:
    """The bytes of a photograph, and what messages call it."""
    if isinstance(source, bytes):
        return source, name or "the image"
    return read_bytes(source, limits), Path(source).name


def read_bytes(path: AnyPath, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read a file, at most `limits.max_bytes` of them.

    Raises:
        ImageError: missing, not to be read, not a file (a folder, a pipe), or too large.
        ValueError: it is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"the photograph is of type {type(path).__name__}; expected the path of a file (text or Path) or its bytes"
        )
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise ImageError(f"{path.name}: this is {kind}; expected a file")
        # One byte more than allowed, as a file may grow after it was measured.
        with path.open("rb") as file:
            data = file.read(min(status.st_size, limits.max_bytes) + 1)
    except FileNotFoundError as error:
        raise ImageError(f"{path.name}: there is no such file; check the path") from error
    except PermissionError as error:
        raise ImageError(f"{path.name}: no permission to read it; ask its owner") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise ImageError(f"{path.name!r}: can't be read ({reason})") from error
    if len(data) > limits.max_bytes:
        raise ImageError(f"{path.name}: {too_many_bytes(status.st_size, limits)}")
    return data


@contextmanager
def at_hand(path: Path, min_side: int) -> Iterator[bytes]:
    """Give the bytes of a file to a block that decodes it and works on its pixels.

    Waits until what other threads do so with leaves enough memory (`limits.BUDGET`).

    Args:
        path: the file.
        min_side: as the block will ask of `decode`.

    Raises:
        ImageError: as from `read_bytes`.
        OSError: it is not there any more.
    """
    with _BIG_FILE if path.stat().st_size > _BIG else nullcontext():
        data = read_bytes(path)
        size = 2 * len(data)
        with suppress(ImageError):  # told by `decode`
            header = None if is_dicom(data) else read_header(data)
            if header is not None:
                size = bytes_needed(header, len(data), reduction(header, min_side), quick=True)
        with MEMORY.hold(size):
            yield data


def _jpeg(data: bytes, header: Header, factor: int) -> Pixels | None:
    """A grey or colour JPEG in sRGB; None where Pillow has to do it."""
    if header.bits != 8:
        raise ImageError(f"this JPEG has {header.bits} bits a channel; export it with 8")
    if header.channels not in (1, 3):
        return None
    height, width = -(-header.height // factor), -(-header.width // factor)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, min_height=height, min_width=width)
    except ValueError as error:
        if any(words in str(error) for words in _HARMLESS):
            return None
        if "Premature end of JPEG" in str(error):
            raise ImageError("the JPEG is cut off before its end; copy the file again") from error
        raise ImageError(f"the JPEG is damaged ({error}); copy the file again") from error
    except MemoryError as error:
        raise ImageError(NO_MEMORY) from error
    if pixels.shape != (height, width, 3):
        raise ImageError("the JPEG states two sizes; export it again")
    if header.icc is None:
        return pixels
    from foveola.images.color import to_srgb

    return to_srgb(pixels, header.icc)


def dicom_facts(data: bytes, limits: Limits = DEFAULT_LIMITS) -> "DicomFacts | None":
    """Read what a DICOM image says of itself: its size, its frames, its eye; None for other files.

    Raises:
        ImageError, MissingExtraError: as from `decode`, as far as the header shows it.
    """
    if not is_dicom(data):
        return None
    from foveola.images import dicom

    return dicom.read_facts(data, limits)


class Stated(NamedTuple):
    """What a file says of a photograph, None where it does not: which eye, by which camera."""

    eye: Eye | None = None
    camera: str | None = None


def stated(data: bytes) -> Stated:
    """Read what a DICOM image says of itself, see `DicomFacts`; other files say nothing."""
    try:
        facts = dicom_facts(data)
    except FoveolaError:  # told by `decode`
        return Stated()
    return Stated(facts.eye, facts.camera) if facts else Stated()


def _dicom(data: bytes, limits: Limits, min_side: int | None, frame: int) -> Pixels:
    from foveola.images import dicom

    if len(data) > limits.max_bytes:
        raise ImageError(too_many_bytes(len(data), limits))
    with MEMORY.hold(2 * len(data)):  # what it unpacks to is the child's
        return dicom.decode_dicom(data, limits, min_side=min_side, frame=frame)


def reduction(header: Header, min_side: int | None) -> int:
    """Return how far a photograph may be scaled down: 1, 2, 4 or 8; only a JPEG where it is not large.

    Other scales of libjpeg (3/4, 3/8) cost more time than they save.
    """
    if header.format != "JPEG" and header.width * header.height <= LARGE:
        return 1
    factor = 1
    shorter = min(header.width, header.height)
    while min_side and factor < 8 and shorter >= 2 * factor * min_side:
        factor *= 2
    return factor


def _upright(pixels: Pixels, header: Header) -> Pixels:
    """Turn and mirror as EXIF's orientation asks."""
    if header.orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    # Of the picture, transposed or not, these run from right to left or from bottom to top.
    if header.orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if header.orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


# --- a photograph as a caller has it ---


Photograph = Union[AnyPath, bytes, NDArray[np.uint8], "Image"]


class File(NamedTuple):
    """A photograph as a file.

    Attributes:
        data: bytes of the file; pixels are the file of an uncompressed picture.
        name: what messages call it.
        path: of the file, absolute; None where it has none.
    """

    data: bytes
    name: str
    path: str | None


def as_file(photograph: Photograph) -> File:
    """Take a photograph in any form as a file.

    Args:
        photograph: the path of a file (text or Path), the bytes of one, (H, W, 3) uint8 RGB
            upright, or an image of Pillow's.

    Raises:
        ImageError: there is no such file, it can't be read, or Pillow's image can't be shown.
        ValueError: it is something else.
    """
    if isinstance(photograph, bytes):
        return File(photograph, "the photograph", None)
    if isinstance(photograph, np.ndarray):
        return File(_bitmap(photograph), "the array", None)
    if _is_pillow(photograph):
        from foveola.images._pillow import pixels_of

        return File(_bitmap(pixels_of(photograph)), "the image", None)
    if not isinstance(photograph, str | os.PathLike):
        raise ValueError(
            f"the photograph is of type {type(photograph).__name__}; expected the path of a file "
            "(text or Path), the bytes of a file, a PIL image, or an array (H, W, 3) uint8"
        )
    path = Path(photograph)
    return File(read_bytes(path), path.name, str(path.absolute()))


def is_one(photographs: Photograph | Iterable[Photograph]) -> TypeGuard[Photograph]:
    """Return whether this is one photograph, good or bad, and no list of them."""
    if not isinstance(photographs, Iterable):
        return True  # of which `as_file` says what it is not
    if isinstance(photographs, np.ndarray):
        return photographs.dtype.kind not in "OUS"  # an array of paths is a list
    return isinstance(photographs, str | bytes | os.PathLike) or _is_pillow(photographs)


def _is_pillow(thing: object) -> "TypeGuard[Image]":
    """Whether it is an image of Pillow's, which is not imported where nobody else did."""
    pillow: Any = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(thing, pillow.Image)


def _bitmap(pixels: NDArray[np.uint8]) -> bytes:
    """The file of a picture in which every pixel is kept."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"the photograph is an array {pixels.shape} {pixels.dtype}; expected (H, W, 3) uint8, RGB from 0 to 255"
        )
    import cv2  # not above: a JPEG is decoded without

    return cv2.imencode(".bmp", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
