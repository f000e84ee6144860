"""From the colours a file holds to 8-bit sRGB: profiles, transparency, bit depth, and what got lost."""

import io
import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from foveola.errors import ImageError

Pixels = NDArray[np.uint8]

_LOG = logging.getLogger(__name__)
_LARGEST_PROFILE = 4 * 2**20  # bytes; those of presses have about 2 MiB
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_SIXTEEN = 65535
_LEAST_RANGE = 64  # of 255, between black and white of a profile that is good for anything


_PLAIN = ("1", "L", "P", "RGB", "RGBX", "YCbCr")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
STRIP = 1 << 18  # pixels converted at once, to bound what a conversion takes beside its result

# (top, bottom) -> those rows of a picture, (bottom - top, W, 3) uint8 sRGB
Rows = Callable[[int, int], Pixels]


def strips(height: int, width: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Yield (top, bottom) of parts of a picture, each but the last of a multiple of so many rows."""
    step = max(1, STRIP // (width * multiple)) * multiple
    return ((top, min(top + step, height)) for top in range(0, height, step))


def to_rgb(image: Image.Image) -> Rows:
    """Return the rows of any loaded 8-bit Pillow image, what is transparent over black.

    Raises:
        ImageError: a colour space without a clear meaning on a screen (Lab, floats ...), or
            all of it is hidden.
    """
    icc = image.info.get("icc_profile")
    if image.mode == "CMYK":
        return _from_cmyk(image, icc)
    if image.mode not in _PLAIN + _WITH_ALPHA:
        raise ImageError(f"the pixels are of an unusual kind ({image.mode}); export as 8-bit RGB or grey")
    if image.mode in _PLAIN and "transparency" not in image.info:
        return lambda top, bottom: to_srgb(_cut(image, top, bottom, "RGB"), icc)

    def seen(top: int, bottom: int) -> tuple[Pixels, Pixels]:
        rgba = _cut(image, top, bottom, "RGBA")
        return to_srgb(np.ascontiguousarray(rgba[..., :3]), icc), rgba[..., 3]

    return through_alpha(seen, image.height, image.width)


def _cut(image: Image.Image, top: int, bottom: int, mode: str) -> Pixels:
    return np.array(image.crop((0, top, image.width, bottom)).convert(mode))


def to_srgb(pixels: Pixels, icc: bytes | None) -> Pixels:
    """Convert (H, W, 3) uint8 in the profile's colours to sRGB.

    Without a profile, or with one that is broken or does not fit, pixels are sRGB already.
    """
    mode = _space(icc)
    transform = _transform(icc, mode) if icc is not None and mode in ("RGB", "L") else None
    if transform is None:
        return pixels
    made = np.empty_like(pixels)
    for top, bottom in strips(*pixels.shape[:2]):
        part = pixels[top:bottom] if mode == "RGB" else pixels[top:bottom, :, 0]
        made[top:bottom] = transform.apply(Image.fromarray(np.ascontiguousarray(part)))
    return made


def through_alpha(seen: Callable[[int, int], tuple[Pixels, Pixels]], height: int, width: int) -> Rows:
    """Return the rows of a picture as it looks over black, as behind a camera's mask.

    An alpha of 0 everywhere is a channel that nobody filled in, and is left out.

    Args:
        seen: (top, bottom) -> (h, W, 3) colours and (h, W) alpha of those rows.
        height: of the picture.
        width: likewise.

    Raises:
        ImageError: next to nothing can be seen through it.
    """
    low, high, colours, alphas = 255, 0, [], []
    for top, bottom in strips(height, width):
        colour, alpha = seen(top, bottom)
        low, high = min(low, int(alpha.min())), max(high, int(alpha.max()))
        colours.append(colour[::4, ::4].copy())  # a view would keep all of the picture
        alphas.append(alpha[::4, ::4].copy())
    if high == 0 or low == 255:
        return lambda top, bottom: seen(top, bottom)[0]
    thin = np.concatenate(colours)
    if is_lost(thin, over_black(thin, np.concatenate(alphas))):
        raise ImageError("its transparency hides the whole picture; export it without alpha")
    return lambda top, bottom: over_black(*seen(top, bottom))


def over_black(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Lay (H, W, 3) pixels over black as an alpha (H, W) shows them."""
    product = pixels.astype(np.uint16) * alpha[..., None] + 127
    return (product // 255).astype(np.uint8)


def eight_bits(values: NDArray[np.uint16], top: int) -> Pixels:
    """Convert uint16 of any shape to uint8: top becomes 255, rounded to nearest."""
    return _table(top)[values]


def top_of(values: NDArray[np.uint16], highest: int, stated: int | None = None) -> int:
    """Choose which sample is to be 255.

    It is what the file has `stated`, if no sample lies above it. Else it is 65535, unless
    no sample reaches 4096: such a picture would be black to the eye (at most 15 of 255), and
    comes from a 12-bit camera (top 4095) or, below 256, from an 8-bit one (top 255) whose
    upper bits were left empty.

    Args:
        values: (H, W) or (H, W, C) of the picture, or of every so many rows and columns.
        highest: of all samples.
        stated: the highest that the file says it holds.

    Raises:
        ImageError: the picture would be black all the same.
    """
    if stated is not None and max(highest, 255) <= stated < _SIXTEEN:
        top = stated
    else:
        top = next((top for top in (255, 4095) if highest <= top), _SIXTEEN)
    if is_lost(values, eight_bits(values, top)):
        raise ImageError(
            f"nearly all of its 16-bit samples lie far below {top}, so it would be black; export it with 8 bits"
        )
    return top


@lru_cache(maxsize=8)
def _table(top: int) -> Pixels:
    values = np.minimum(np.arange(_SIXTEEN + 1), top)
    return ((values * 255 + top // 2) // top).astype(np.uint8)


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Rows:
    transform = _transform(icc, "CMYK") if icc and _space(icc) == "CMYK" else None

    def rows(top: int, bottom: int) -> Pixels:
        part = image.crop((0, top, image.width, bottom))
        return np.array(transform.apply(part) if transform else part.convert("RGB"))

    return rows


def _space(icc: bytes | None) -> str | None:
    """Pillow's name of the colours a profile is for; None if there is no usable profile."""
    if icc is None or len(icc) > _LARGEST_PROFILE or icc[36:40] != b"acsp":
        return None
    return _SPACES.get(icc[16:20])


@lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> Any:
    """A profile's way to sRGB; None if it changes nothing or can't be used.

    Whether it changes nothing is tried on colours, as names of profiles lie.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return transform
        colours = _colours(mode)
        changed = np.asarray(transform.apply(colours)).astype(int)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        _LOG.info("a colour profile can't be used, its picture is taken as sRGB: %s", error)
        return None
    if np.ptp(changed) < _LEAST_RANGE:
        _LOG.info("a colour profile makes all colours alike, its picture is taken as sRGB")
        return None
    same = np.abs(changed - np.asarray(colours.convert("RGB"))).max() <= 1
    return None if same else transform


def _colours(mode: str) -> Image.Image:
    """All greys, or 9 x 9 x 9 colours of the RGB cube."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
    return Image.fromarray(cube.reshape(1, -1, 3))


# --- What was lost on the way ---


_LOOKED_AT = 1 << 18  # pixels, at most; enough to know how many levels there are
_BLACK, _ALIKE = 20, 4  # of 255: below the one nothing can be seen, nor within the other
_FEWER = 4  # times: so many levels in one of what is shown are a loss


def is_lost(data: NDArray[Any], shown: NDArray[np.uint8]) -> bool:
    """Return whether a picture is nearly black, or of one shade, though its data is not.

    Nearly black is what reaches 20 of 255 in less than half a percent of its pixels. Data that is
    as poor as what is shown of it (a photograph taken in the dark) has lost nothing.

    Args:
        data: (H, W) or (H, W, C), as stored.
        shown: of the same height and width.
    """
    step = max(1, int(np.sqrt(shown.shape[0] * shown.shape[1] / _LOOKED_AT)))
    seen = shown[::step, ::step]
    low, high = np.percentile(seen, (0.5, 99.5))
    if high >= _BLACK and high - low >= _ALIKE:
        return False
    return len(np.unique(data[::step, ::step])) >= _FEWER * (len(np.unique(seen)) + 1)
