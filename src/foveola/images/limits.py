"""What decoding a photograph may cost: bounds on one, and a bound on memory for all threads.

Bytes for each pixel are those of the decoders as measured (tests/images/test_limits.py): Pillow
keeps four for a pixel of colour, libwebp five pictures of that size, and a progressive JPEG
its coefficients whatever the scale it is decoded at.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from foveola.errors import ImageError
from foveola.images.headers import Header, read_header

BUDGET = 256 * 2**20  # bytes for all photographs that are being decoded at once
LARGE = 16_000_000  # pixels, above which other formats than JPEG are brought down as JPEG is
_ONE, _FOUR, _DEEP, _WEBP = 1, 4, 8, 24  # bytes a pixel


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a file may cost; each is checked before anything is allocated for its pixels.

    A decoder can't be stopped once it runs, so time is bounded by what a header states:
    the seconds are an estimate, pixels times a rate above the slowest measured for the format.

    Attributes:
        max_bytes: of the file.
        max_pixels: width x height.
        max_seconds: of decoding, as estimated; with the other limits as they are, only large
            progressive JPEGs of more than 14 scans exceed 20.
        smallest_side: pixels of the shorter side below which it is no photograph.
        max_aspect: the longer side by the shorter one.
        max_memory: bytes that file, decoder and pixels take together, as estimated; what many
            threads decode at once takes no more either.
    """

    max_bytes: int = 256 * 2**20
    max_pixels: int = 100_000_000
    max_seconds: float = 20.0
    smallest_side: int = 64
    max_aspect: float = 8.0
    max_memory: int = BUDGET

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not getattr(self, limit.name) > 0:
                raise ValueError(f"{limit.name} is {getattr(self, limit.name)}; expected above 0")


DEFAULT_LIMITS = Limits()


class Budget:
    """Bytes that threads may take at once; who asks for more than is left waits.

    A thread that holds some already gets what it asks for within that: nobody can wait for
    somebody who waits for them.
    """

    def __init__(self, most: int = BUDGET) -> None:
        self._most, self._held = most, 0
        self._change = threading.Condition()
        self._own = threading.local()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Have so many bytes, or all there are, until the end of the block."""
        if getattr(self._own, "holds", False):
            yield
            return
        size = min(size, self._most)
        with self._change:
            self._change.wait_for(lambda: self._held + size <= self._most)
            self._held += size
        self._own.holds = True
        try:
            yield
        finally:
            self._own.holds = False
            with self._change:
                self._held -= size
                self._change.notify_all()


MEMORY = Budget()


def bytes_needed(header: Header, size: int, factor: int, *, quick: bool) -> int:
    """Estimate the bytes that file, decoder and result take together at most.

    Args:
        header: of the photograph.
        size: of the file.
        factor: by which each side is divided on the way, 1, 2, 4 or 8.
        quick: whether libjpeg-turbo decodes it, which keeps the result only.
    """
    pixels = header.width * header.height
    result = 3 * pixels // factor**2 * (2 if header.orientation > 1 else 1)
    if header.format != "JPEG":
        return size + round(_of_decoder(header) * pixels) + result
    waiting = round(2 * header.samples * pixels) if header.passes > 1 else 0
    return size + waiting + result + (0 if quick else _FOUR * pixels // factor**2)


def _of_decoder(header: Header) -> float:
    """Bytes for each pixel beside file and result; not for JPEG."""
    if header.format == "WebP":
        return _WEBP
    deep = header.bits > 8
    if header.format == "TIFF":
        return (13 if deep else 10) if header.channels >= 3 else (6 if deep else 4)
    if header.format == "PNG" and header.channels == 1:
        return _FOUR if deep else _ONE
    return _DEEP if deep else _FOUR


def too_many_bytes(found: int, limits: Limits) -> str:
    """Say that a file is too large."""
    return (
        f"the file has {found / 2**20:.1f} MiB; expected at most {limits.max_bytes / 2**20:.1f} "
        "(Limits.max_bytes), so export it smaller"
    )


def checked_header(data: bytes, limits: Limits) -> Header:
    """Read the header of a photograph that keeps the limits.

    Raises:
        ImageError: it does not, or is damaged.
    """
    if len(data) > limits.max_bytes:
        raise ImageError(too_many_bytes(len(data), limits))
    header = read_header(data)
    width, height = header.width, header.height
    size = f"the {header.format} header says {width} x {height} pixels"
    if min(width, height) <= 0:
        raise ImageError(f"{size}; the file is damaged, copy it again")
    if width * height > limits.max_pixels:
        most = limits.max_pixels / 1e6
        raise ImageError(f"{size}; expected at most {most:g} million (Limits.max_pixels)")
    if min(width, height) < limits.smallest_side:
        raise ImageError(f"{size}; expected at least {limits.smallest_side} on each side")
    if max(width, height) > limits.max_aspect * min(width, height):
        raise ImageError(
            f"{size}; expected sides of at most {limits.max_aspect:g} to 1 (Limits.max_aspect), "
            "so cut out the photograph"
        )
    if (seconds := estimated_seconds(header)) > limits.max_seconds:
        raise ImageError(
            f"{size} in {header.passes} passes, about {seconds:.0f} s of decoding; expected at "
            f"most {limits.max_seconds:g} s (Limits.max_seconds), so save it as a plain JPEG"
        )
    return header


# Nanoseconds for each 8-bit pixel, above the slowest files of benchmarks/decode.py;
# 16 bits double them, and a JPEG pays for each of its scans.
_NANOSECONDS = {"JPEG": 60, "PNG": 80, "TIFF": 100, "WebP": 100, "BMP": 40}
_NANOSECONDS_A_SCAN = 10


def estimated_seconds(header: Header) -> float:
    """Estimate the seconds that decoding takes at most on one slow core, from the header alone."""
    each = _NANOSECONDS[header.format] * (2 if header.bits > 8 else 1)
    if header.format == "JPEG":
        each += _NANOSECONDS_A_SCAN * header.passes
    return header.width * header.height * each * 1e-9


def checked_memory(data: bytes, header: Header, factor: int, limits: Limits) -> int:
    """Estimate the bytes that decoding takes.

    Raises:
        ImageError: more than the limits allow.
    """
    quick = header.format == "JPEG" and header.channels in (1, 3)
    needed = bytes_needed(header, len(data), factor, quick=quick)
    if needed > limits.max_memory:
        raise ImageError(
            f"the {header.format} header says {header.width} x {header.height} pixels, about "
            f"{needed / 2**20:.0f} MiB to decode; expected at most {limits.max_memory / 2**20:.0f} "
            "(Limits.max_memory), so export it smaller, or as a plain JPEG"
        )
    return needed
