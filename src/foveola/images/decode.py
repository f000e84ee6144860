"""Decode a photograph within bounds: bytes in, upright sRGB pixels out."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from foveola.errors import ImageError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a file may cost.

    Attributes:
        max_bytes: of the file.
        max_pixels: width x height, read from the header before anything is allocated.
        max_seconds: of decoding, estimated from the header.
        min_side: pixels of the shorter side, below which it is no photograph.
    """

    max_bytes: int = 256 * 2**20
    max_pixels: int = 100_000_000
    max_seconds: float = 20.0
    min_side: int = 64


DEFAULT_LIMITS = Limits()


def read_bytes(path: Path, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read a file of at most `limits.max_bytes`."""
    try:
        if path.stat().st_size > limits.max_bytes:
            raise ImageError(f"{path.name}: larger than {limits.max_bytes} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path.name}: {error.strerror}") from error


def decode(
    source: Path | bytes, *, limits: Limits = DEFAULT_LIMITS, min_side: int | None = None
) -> Pixels:
    """Decode to (H, W, 3) uint8 RGB, sRGB, upright.

    With `min_side` a JPEG may come at 1/2, 1/4 or 1/8 of its size, its shorter side still
    at least `min_side` pixels.
    """
    name = source.name if isinstance(source, Path) else "the image"
    data = read_bytes(source, limits) if isinstance(source, Path) else source
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
        if image.width * image.height > limits.max_pixels:
            raise ImageError(f"{name}: more than {limits.max_pixels} pixels")
        if image.format == "JPEG" and image.mode != "CMYK":
            pixels = _jpeg(data, min_side)
            turned = ImageOps.exif_transpose(_like(image, pixels)) if image.getexif() else None
            return pixels if turned is None else np.ascontiguousarray(turned)
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: can't be decoded ({error})") from error


def _jpeg(data: bytes, min_side: int | None) -> Pixels:
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    factor = 1
    while min_side and factor < 8 and min(height, width) // (2 * factor) >= min_side:
        factor *= 2
    pixels: Pixels = simplejpeg.decode_jpeg(
        data, min_height=-(-height // factor), min_width=-(-width // factor)
    )
    return pixels


def _like(image: Image.Image, pixels: Pixels) -> Image.Image:
    out = Image.fromarray(pixels)
    out.getexif().update(image.getexif())
    return out
