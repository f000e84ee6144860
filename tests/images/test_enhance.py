"""The enhancement step: detail comes out, colour and surround stay."""

import cv2
import numpy as np

from foveola.images.enhance import enhance
from foveola.phantom.anatomy import make_eye, make_subject
from foveola.phantom.rendering import render


def test_detail_comes_out_and_the_surround_stays_black():
    image = render(make_eye(make_subject(4, 1), "left"), [0], size=256).image
    image[np.hypot(*(np.mgrid[:256, :256] - 127.5)) > 118] = 0
    made = enhance(image)
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    assert made[image.max(axis=2) == 0].max() == 0
    inside = np.hypot(*(np.mgrid[:256, :256] - 127.5)) < 100

    def detail(of):
        green = of[..., 1].astype(float)
        return (green - cv2.GaussianBlur(green, (0, 0), 8))[inside].std()

    assert detail(made) > 1.15 * detail(image)


def test_lightness_is_that_of_opencvs_own_and_hue_is_kept():
    rng = np.random.default_rng(0)
    image = rng.integers(20, 200, (64, 64, 3)).astype(np.uint8)
    light = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(light[..., 0]))
    light[..., 0] = expected
    assert (enhance(image) == cv2.cvtColor(light, cv2.COLOR_LAB2RGB)).all()
