"""Where something is: on a picture, on the square around its field of view, on the grid of places.

Boxes are given in shares of the picture's width and height, so that they mean the same at every
size a picture is shown or decoded at. Letters: n x n positions of the grid.
"""

import math
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from foveola.errors import RegionError
from foveola.images.fundus import FieldOfView

POINT = 0.1  # side of the box around a point, in diameters of the field of view: a disc has .13
_REACH = 0.25  # of a position: a box that covers less of one than this leaves it out
_RIM = 0.97  # of the field's radius: further out a position sees the camera's mask


class Box(NamedTuple):
    """A rectangle: left, top, width and height in shares of the picture, from 0 to 1."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> "Box":
        """Read "X,Y,WIDTH,HEIGHT", or "X,Y" for a point, whose width and height are 0.

        Raises:
            RegionError: it is neither, or lies beyond the picture.

        >>> Box.parse("0.4,0.5,0.1,0.2")
        Box(x=0.4, y=0.5, width=0.1, height=0.2)
        """
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) not in (2, 4):
            raise RegionError(
                f"the region {text[:40]!r} is not understood; expected X,Y,WIDTH,HEIGHT in shares "
                "of the picture, such as 0.4,0.5,0.1,0.1, or X,Y for a point"
            )
        return cls(*values, *([0.0, 0.0] if len(values) == 2 else [])).checked()

    def checked(self) -> Self:
        """Return the box itself, if it lies within the picture.

        Raises:
            RegionError: it does not lie within the picture.
        """
        ends = (self.x, self.y, self.x + self.width, self.y + self.height)
        sound = all(math.isfinite(v) and -1e-6 <= v <= 1 + 1e-6 for v in ends)
        if not sound or self.width < 0 or self.height < 0:
            raise RegionError(
                f"the region {','.join(f'{v:g}' for v in self)} does not lie within the picture; "
                "its left, top, width and height are shares from 0 to 1"
            )
        return self


class Cells(NamedTuple):
    """A rectangle of positions: first column and row, how many of each."""

    x: int
    y: int
    columns: int
    rows: int


class Field(NamedTuple):
    """Where the square around the field of view lies in a picture.

    Attributes:
        x, y: its corner, in widths of the picture.
        side: likewise.
        aspect: height of the picture in widths.
        round: whether the field is a circle, and not the whole frame.
    """

    x: float
    y: float
    side: float
    aspect: float
    round: bool

    @classmethod
    def of(cls, view: FieldOfView, height: int, width: int) -> "Field":
        """Find the square around the field of view of a picture of so many pixels."""
        corner = (view.x - view.radius) / width, (view.y - view.radius) / width
        return cls(*corner, 2 * view.radius / width, height / width, view.round)

    def cells(self, box: Box, n: int) -> Cells:
        """Return the positions that a box covers, at least one; a point gets a square of POINT.

        Raises:
            RegionError: it lies outside the field of view.
        """
        u, v = (box.x - self.x) / self.side, (box.y * self.aspect - self.y) / self.side
        w, h = box.width / self.side, box.height * self.aspect / self.side
        if not w and not h:
            u, v, w, h = u - POINT / 2, v - POINT / 2, POINT, POINT
        columns, rows = _covered(u, w, n), _covered(v, h, n)
        return Cells(columns[0], rows[0], columns[1], rows[1])

    def box(self, cells: Cells, n: int) -> Box:
        """Return where positions lie in the picture; what reaches beyond the frame is cut off."""
        x0, x1 = (self.x + self.side * c / n for c in (cells.x, cells.x + cells.columns))
        y0, y1 = ((self.y + self.side * c / n) / self.aspect for c in (cells.y, cells.y + cells.rows))
        x0, y0, x1, y1 = (min(max(v, 0.0), 1.0) for v in (x0, y0, x1, y1))
        return Box(x0, y0, x1 - x0, y1 - y0)

    def inside(self, n: int) -> NDArray[np.bool_]:
        """Return (n, n) which positions see retina: their centre is in the circle, and in the frame."""
        centre = (np.arange(n) + 0.5) / n
        across, down = self.x + self.side * centre, self.y + self.side * centre
        framed = ((down >= 0) & (down <= self.aspect))[:, None] & ((across >= 0) & (across <= 1))
        if not self.round:
            return np.asarray(framed)
        near = np.hypot(centre[:, None] - 0.5, centre - 0.5) <= _RIM / 2
        return np.asarray(framed & near)


def square(cells: Cells, n: int) -> Box:
    """Return positions in shares of the square around the field of view, as thumbnails show it.

    >>> square(Cells(x=5, y=10, columns=2, rows=2), n=20)
    Box(x=0.25, y=0.5, width=0.1, height=0.1)
    """
    return Box(cells.x / n, cells.y / n, cells.columns / n, cells.rows / n)


def _covered(start: float, length: float, n: int) -> tuple[int, int]:
    """First position and how many, of an interval in shares of the field."""
    if start + length <= 0 or start >= 1:
        raise RegionError("the region lies outside the field of view; mark a place on the retina")
    first = min(max(math.floor(start * n + _REACH), 0), n - 1)
    last = min(max(math.ceil((start + length) * n - _REACH), first + 1), n)
    return first, last - first
