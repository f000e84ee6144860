"""What decoding a photograph takes, told from its header, and a bound on it for all threads.

Bytes for each pixel are those of the decoders as measured (tests/images/test_memory.py): Pillow
keeps four for a pixel of colour, libwebp five pictures of that size, and a progressive JPEG
its coefficients whatever the scale it is decoded at.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from foveola.images._headers import Header

BUDGET = 256 * 2**20  # bytes for all photographs that are being decoded at once
LARGE = 16_000_000  # pixels, above which other formats than JPEG are brought down as JPEG is
_ONE, _FOUR, _DEEP, _WEBP = 1, 4, 8, 24  # bytes a pixel


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
    """Bytes that file, decoder and result take together at most.

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
