"""Covering a photograph up, by hand."""

import numpy as np
import pytest

from foveola.explain import occlusion_map


def brightness(prepared):
    """A descriptor of two numbers: how bright the left and the right half are."""
    x = prepared.astype(np.float64).mean(axis=3)
    half = x.shape[2] // 2
    rows = np.stack([x[..., :half].mean((1, 2)), x[..., half:].mean((1, 2))], axis=1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_occlusion_by_hand():
    # 4 x 4 pixels, a cell each: the left half is 30, the right 90, so the mean colour is 60. One
    # covered pixel on the left brings its half to (7 * 30 + 60) / 8 = 33.75, on the right to 86.25.
    photo = np.full((4, 4, 3), 30, np.uint8)
    photo[:, 2:] = 90
    found = occlusion_map(photo, [0.0, 1.0], brightness, cells=4, width=1)
    whole, left, right = (b / np.hypot(a, b) for a, b in ((30, 90), (33.75, 90), (30, 86.25)))
    wanted = np.tile([whole - left] * 2 + [whole - right] * 2, (4, 1))
    assert found.contributions == pytest.approx(wanted, abs=1e-6)
    assert found.cosine == pytest.approx(whole)


def test_occlusion_shares_a_square_among_its_cells_and_leaves_the_surround_black():
    seen = []

    def encode(prepared):
        seen.append(prepared[0].copy())
        return brightness(prepared)

    photo = np.zeros((9, 9, 3), np.uint8)
    photo[3:, :] = 80
    photo[3:, 6:] = 200
    found = occlusion_map(photo, [0.6, 0.8], encode, cells=3, width=1)
    assert len(seen) == 10
    assert all((image[:3] == 0).all() for image in seen)
    assert (seen[4 + 5][6:, 6:] == seen[4 + 5][6, 6]).all()
    assert found.contributions[0] == pytest.approx(np.zeros(3))  # nothing there to cover
    wide = occlusion_map(photo, [0.6, 0.8], brightness, cells=9, width=3)
    assert wide.contributions.shape == (9, 9)


@pytest.mark.parametrize(("cells", "width"), [(3, 3), (10, 2), (40, 3)])
def test_an_occlusion_that_makes_no_sense_is_refused(cells, width):
    with pytest.raises(ValueError, match="odd width"):
        occlusion_map(np.ones((16, 16, 3), np.uint8), [1.0, 0.0], brightness, cells, width)
