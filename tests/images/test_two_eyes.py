"""Two fields of view in one frame are told and refused; one is never taken for two."""

import cv2
import numpy as np
import pytest

from foveola.errors import ImageError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, field_to_show, find_field_of_view, prepare
from foveola.images.gradability import gradability
from foveola.images.pictures import small

REFUSED = "two fields of view or more, such as both eyes in one frame"


def eye(radius, seed=0):
    """(2r, 2r, 4): a reddish disc with vessels, and where it is."""
    side = 2 * radius
    noise = np.random.default_rng(seed).integers(-20, 20, (9, 9, 3)).astype(np.float32)
    image = np.float32((170, 80, 40)) + cv2.resize(noise, (side, side))
    for n in range(6):
        end = (int(side * (0.5 + 0.5 * np.cos(n))), int(side * (0.5 + 0.5 * np.sin(n))))
        cv2.line(image, (radius // 2, radius), end, (110, 30, 20), max(1, radius // 40))
    disc = np.zeros((side, side), np.uint8)
    cv2.circle(disc, (radius, radius), radius - 1, 255, -1)
    return np.dstack([image.clip(0, 255).astype(np.uint8), disc])


def frame(height, width, *eyes, surround=0):
    """Discs at (x, y, radius) on a surround; a later one lies over an earlier one."""
    made = np.full((height, width, 3), surround, np.uint8)
    for n, (x, y, radius) in enumerate(eyes):
        disc = eye(radius, n)
        x0, y0 = max(x - radius, 0), max(y - radius, 0)
        part = made[y0 : y + radius, x0 : x + radius]
        seen = disc[y0 - y + radius :, x0 - x + radius :][: part.shape[0], : part.shape[1]]
        part[seen[..., 3] > 0] = seen[seen[..., 3] > 0][:, :3]
    return made


TWO = {
    "side by side": frame(400, 800, (200, 200, 190), (600, 200, 190)),
    "above one another": frame(800, 400, (200, 200, 190), (200, 600, 190)),
    "with a gap": frame(400, 1000, (200, 200, 180), (800, 200, 180)),
    "of unequal sizes": frame(400, 700, (200, 200, 190), (550, 220, 120)),
    "the smaller above": frame(700, 420, (200, 120, 110), (210, 480, 200)),
    "touching": frame(400, 800, (210, 200, 190), (590, 200, 190)),
    "overlapping slightly": frame(400, 760, (200, 200, 190), (550, 200, 190)),
    "overlapping, above one another": frame(760, 400, (200, 200, 190), (200, 550, 190)),
    "overlapping, unequal": frame(400, 700, (200, 200, 190), (480, 210, 120)),
    "cut at top and bottom": frame(340, 840, (210, 170, 200), (630, 170, 200)),
    "on white": frame(400, 800, (200, 200, 180), (600, 200, 180), surround=255),
    "diagonally": frame(800, 800, (200, 200, 190), (590, 590, 190)),
    "three": frame(300, 900, (150, 150, 140), (450, 150, 140), (750, 150, 140)),
    "four": frame(800, 800, (200, 200, 190), (600, 200, 190), (200, 600, 190), (600, 600, 190)),
    "in a large file": frame(1600, 3200, (800, 800, 760), (2400, 800, 760)),
}


def with_a_line(image):
    """A white line between two prints."""
    image = image.copy()
    image[:, image.shape[1] // 2 - 3 : image.shape[1] // 2 + 3] = 255
    return image


TWO["with a line between"] = with_a_line(TWO["side by side"])


def with_label(image):
    cv2.putText(image, "OD 2020", (10, image.shape[0] - 20), 0, 1, (255, 255, 255), 2)
    return image


def with_reflex(image):
    """A bright crescent of stray light on one side, apart from the disc."""
    cv2.ellipse(image, (image.shape[1] - 30, image.shape[0] // 2), (20, 150), 0, 0, 360, (200, 180, 160), -1)
    return image


ONE = {
    "whole": frame(400, 400, (200, 200, 190)),
    "in a wide frame": frame(400, 600, (300, 200, 190)),
    "cut at top and bottom": frame(340, 600, (300, 170, 200)),
    "cut on a side": frame(400, 420, (160, 200, 190)),
    "on white": frame(400, 500, (250, 200, 190), surround=255),
    "with a small inset": frame(400, 600, (210, 200, 190), (520, 60, 50)),
    "with a label": with_label(frame(400, 640, (320, 200, 180))),
    "with a reflex": with_reflex(frame(400, 640, (260, 200, 190))),
    "squeezed": cv2.resize(frame(400, 600, (300, 200, 190)), (400, 400)),
    "stretched": cv2.resize(frame(400, 400, (200, 200, 190)), (600, 400)),
    "filling the frame": np.repeat(frame(400, 400, (200, 200, 290))[:, :, :], 1, axis=0),
}


@pytest.mark.parametrize("kind", TWO)
def test_two_fields_of_view_are_refused_by_one_sentence(kind):
    with pytest.raises(ImageError, match=REFUSED):
        find_field_of_view(TWO[kind])
    with pytest.raises(ImageError, match=REFUSED):
        prepare(TWO[kind], Contract(size=64))
    with pytest.raises(ImageError, match=REFUSED):
        gradability(TWO[kind])


@pytest.mark.parametrize("kind", ONE)
def test_one_field_of_view_is_never_taken_for_two(kind):
    find_field_of_view(ONE[kind])


def test_a_picture_of_two_that_an_old_archive_holds_is_still_shown():
    view = field_to_show(TWO["side by side"])
    assert (view.x, view.y, view.radius, view.round) == (400, 200, 400, False)
    shown = decode(small(TWO["side by side"], 128))
    assert shown.shape == (128, 128, 3)
    assert shown[64, 32].max() > 60 < shown[64, 96].max()


def test_no_real_photograph_is_taken_for_two(shared_data):
    """Some of each collection; of 3,877 tried when this was written none was refused."""
    for collection in ("odir", "idrid", "srahim", "eyepacs", "eyepacs_hires", "grape", "chase_db1"):
        paths = sorted((shared_data / collection).rglob("*.[jp][pn]g"))
        for path in paths[:: max(1, len(paths) // 8)]:
            find_field_of_view(decode(path, min_side=192))
