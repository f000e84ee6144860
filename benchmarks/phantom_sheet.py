"""A contact sheet for the documentation.

Made by `python benchmarks/phantom_sheet.py OUT.jpg`.

Five rows for grades 0 to 4; in each, the right and the left eye at three visits.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from foveola.phantom import MONTHS, encode_jpeg
from foveola.phantom.anatomy import make_eye, make_subject
from foveola.phantom.drawing import Bytes
from foveola.phantom.rendering import paint_ground, render

VISITS = 3
_MARGIN = 26


def sheet(*, seed: int = 673, tile: int = 256, first: int = 0) -> Bytes:
    """Draw the sheet.

    Args:
        seed: of the phantoms.
        tile: side of one photograph in pixels; drawn at twice this and averaged down.
        first: number of the first of the five subjects, one for each grade.

    Returns:
        (5 * (tile + 26), 6 * tile, 3) uint8 RGB.
    """
    rows = []
    months = [MONTHS * v for v in range(VISITS)]
    for grade in range(5):
        photographs: list[Bytes] = []
        for eye in ("right", "left"):
            model = make_eye(make_subject(seed, first + grade), eye)
            ground = paint_ground(model, 2 * tile)
            for v in range(1, VISITS + 1):
                image = render(model, [grade] * v, months=months[:v], size=2 * tile, ground=ground)
                small = cv2.resize(image.image, (tile, tile), interpolation=cv2.INTER_AREA)
                photographs.append(np.asarray(small, np.uint8))
        when = ", ".join(map(str, months)) + " months"
        right, left = (f"phantom, ICDR {grade}: {eye} eye at {when}" for eye in ("right", "left"))
        rows += [_heading(right, left, tile), np.hstack(photographs)]
    return np.vstack(rows)


def _heading(left: str, right: str, tile: int) -> Bytes:
    strip = np.zeros((_MARGIN, 6 * tile, 3), np.uint8)
    for text, x in ((left, 8), (right, 3 * tile + 8)):
        cv2.putText(strip, text, (x, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (200,) * 3, 1, cv2.LINE_AA)
    return strip


def main(arguments: list[str]) -> int:
    """Write the sheet to the one path given."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python benchmarks/phantom_sheet.py OUT.jpg\n")
        return 2
    Path(arguments[0]).write_bytes(encode_jpeg(sheet(), quality=84))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
