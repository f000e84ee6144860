"""From the colours a file holds to 8-bit sRGB: profiles, transparency, bit depth."""

import io
import logging
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


def to_rgb(image: Image.Image) -> Pixels:
    """Any 8-bit Pillow image as (H, W, 3) uint8 sRGB, what is transparent over black.

    Raises:
        ImageError: a colour space without a clear meaning on a screen (Lab, floats ...).
    """
    icc = image.info.get("icc_profile")
    if image.mode == "CMYK":
        return _from_cmyk(image, icc)
    if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
        raise ImageError(
            f"the pixels are of an unusual kind ({image.mode}); export as 8-bit RGB or grey"
        )
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        return over_black(to_srgb(np.ascontiguousarray(rgba[..., :3]), icc), rgba[..., 3])
    return to_srgb(np.array(image.convert("RGB")), icc)


def to_srgb(pixels: Pixels, icc: bytes | None) -> Pixels:
    """(H, W, 3) uint8 in the profile's colours -> the same in sRGB.

    Without a profile, or with one that is broken or does not fit, pixels are sRGB already.
    """
    mode = _space(icc)
    if icc is None or mode not in ("RGB", "L"):
        return pixels
    transform = _transform(icc, mode)
    if transform is None:
        return pixels
    image = Image.fromarray(pixels if mode == "RGB" else np.ascontiguousarray(pixels[..., 0]))
    return np.array(transform.apply(image))


def over_black(pixels: Pixels, alpha: Pixels) -> Pixels:
    """(H, W, 3) seen through (H, W) over black, as behind a camera's mask.

    An alpha of 0 everywhere is a channel that nobody filled in, and is left out.
    """
    if not alpha.any() or alpha.min() == 255:
        return pixels
    product = pixels.astype(np.uint16) * alpha[..., None] + 127
    return (product // 255).astype(np.uint8)


def eight_bits(values: NDArray[np.uint16], stated: int | None = None) -> Pixels:
    """uint16 of any shape to uint8: the top of the range becomes 255, rounded to nearest.

    The top is what the file has `stated`, if no sample lies above it. Else it is 65535, unless
    no sample reaches 4096: such a picture would be black to the eye (at most 15 of 255), and
    comes from a 12-bit camera (top 4095) or, below 256, from an 8-bit one (top 255) whose
    upper bits were left empty.
    """
    highest = int(values.max())
    if stated is not None and max(highest, 255) <= stated < _SIXTEEN:
        return _table(stated)[values]
    top = next((top for top in (255, 4095) if highest <= top), _SIXTEEN)
    return _table(top)[values]


@lru_cache(maxsize=8)
def _table(top: int) -> Pixels:
    values = np.minimum(np.arange(_SIXTEEN + 1), top)
    return ((values * 255 + top // 2) // top).astype(np.uint8)


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Pixels:
    transform = _transform(icc, "CMYK") if icc and _space(icc) == "CMYK" else None
    return np.array(transform.apply(image) if transform else image.convert("RGB"))


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
    same = np.abs(changed - np.asarray(colours.convert("RGB"))).max() <= 1
    return None if same else transform


def _colours(mode: str) -> Image.Image:
    """All greys, or 9 x 9 x 9 colours of the RGB cube."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
    return Image.fromarray(cube.reshape(1, -1, 3))
