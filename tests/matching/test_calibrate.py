"""A hard second visit: what is left of the field, and that the retina is still itself."""

import numpy as np
import pytest

from foveola.duplicates.registration import agree, features, square
from foveola.matching.calibrate import SIDE, harden
from foveola.phantom.anatomy import make_eye, make_subject
from foveola.phantom.rendering import render


@pytest.fixture(scope="module")
def photograph():
    return render(make_eye(make_subject(3, 1), "right"), [0], size=512).image


def test_a_part_of_the_field_is_left_and_nothing_lies_outside(photograph):
    made = harden(photograph, 1)
    assert made.shape == (SIDE, SIDE, 3)
    assert made.dtype == np.uint8
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    assert np.percentile(made[np.hypot(x, y) > SIDE / 2], 99.9) <= 12  # compression rings
    assert made[np.hypot(x, y) < SIDE / 3].min(axis=1).mean() > 10


def test_it_is_the_same_eye_still_and_another_every_time(photograph):
    plain = features(square(photograph))
    found = [agree(plain, features(square(harden(photograph, s, disease=False)))) for s in range(4)]
    assert all(each.inliers >= 16 for each in found)
    scales = [np.sqrt(abs(np.linalg.det(each.affine[:, :2]))) for each in found]
    assert scales == pytest.approx([0.6] * 4, abs=0.03)  # from the hard one back to the plain
    other = render(make_eye(make_subject(3, 2), "right"), [0], size=512).image
    assert agree(features(square(other)), features(square(harden(photograph, 0)))).inliers < 12


def test_the_seed_decides_all_and_disease_changes_it(photograph):
    assert (harden(photograph, 5) == harden(photograph, 5)).all()
    assert (harden(photograph, 5) != harden(photograph, 6)).any()
    painted = np.abs(harden(photograph, 5).astype(int) - harden(photograph, 5, disease=False))
    assert (painted.max(axis=2) > 25).mean() > 0.005
    with pytest.raises(ValueError, match="field is 0; expected above 0"):
        harden(photograph, 1, field=0)
