"""Lesions painted into a photograph: more of them by grade, nothing outside the retina."""

import numpy as np
import pytest

from foveola.phantom.overlay import paint_lesions


def retina(side=256):
    y, x = np.mgrid[:side, :side] - side / 2
    image = np.zeros((side, side, 3), np.uint8)
    image[np.hypot(x, y) < 0.48 * side] = (170, 90, 45)
    return image


def test_lesions_are_painted_inside_the_field_of_view_alone():
    image = retina()
    painted = paint_lesions(image, seed=5, grade=3)
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8
    black = image.max(axis=2) == 0
    assert (painted[black] == 0).all()
    changed = np.abs(painted.astype(int) - image).max(axis=2) > 15
    assert 0.002 < changed.mean() < 0.2


def test_higher_grades_have_more_and_seeds_differ():
    image = retina()

    def changed(seed, grade):
        return np.abs(paint_lesions(image, seed=seed, grade=grade).astype(int) - image) > 15

    for seed in range(3, 8):
        sizes = [changed(seed, grade).sum() for grade in (0, 1, 2, 3)]
        assert sizes[1] < sizes[2] < sizes[3]
    first, second = changed(3, 3), changed(4, 3)
    assert (first & second).sum() < 0.3 * min(first.sum(), second.sum())
    again = paint_lesions(image, seed=3, grade=3)
    assert (again == paint_lesions(image, seed=3, grade=3)).all()


def test_a_dark_photograph_gets_dark_lesions():
    dark = retina() // 4
    painted = paint_lesions(dark, seed=5, grade=3)
    assert painted.max() < 120


def test_black_stays_black_and_other_shapes_are_refused():
    black = np.zeros((64, 64, 3), np.uint8)
    assert (paint_lesions(black, seed=1, grade=4) == 0).all()
    with pytest.raises(ValueError, match=r"expected \(S, S, 3\) uint8"):
        paint_lesions(np.zeros((64, 32, 3), np.uint8), seed=1, grade=2)
    with pytest.raises(ValueError, match="expected grades 0 to 4"):
        paint_lesions(black + 99, seed=1, grade=5)
