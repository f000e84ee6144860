"""The measure falls as a photograph gets worse, and knows what is no photograph of a retina."""

import re
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveola.datasets.manifest import Manifest
from foveola.images.decode import decode
from foveola.images.fundus import Contract, find_field_of_view, prepare
from foveola.images.gradability import MEASURES, WARN_BELOW, WEIGHTS, Rule, gradability, measure, warning
from foveola.phantom.anatomy import make_eye, make_subject
from foveola.phantom.rendering import render


def phantom(seed=4, size=384):
    return render(make_eye(make_subject(seed, 1), "left"), [0], size=size).image


PHANTOMS = [phantom(seed) for seed in range(3)]


def changed(image, do):
    """What `do` makes of the retina on a scale to 255; the surround stays black."""
    field = image.max(axis=2, keepdims=True) > 0
    return (np.clip(do(image.astype(np.float32)), 0, 255) * field).astype(np.uint8)


def blurred(image, sigma):
    return changed(image, lambda x: cv2.GaussianBlur(x, (0, 0), sigma))


def darkened(image, share):
    return changed(image, lambda x: x * share)


def hazy(image, share):
    return changed(image, lambda x: x * share + 160 * (1 - share))


def overexposed(image, gain):
    return changed(image, lambda x: x * gain + 20 * gain)


def half_shaded(image, light):
    across = np.linspace(-1, 1, image.shape[1])[None, :, None]
    return changed(image, lambda x: x * (light + (1 - light) / (1 + np.exp(12 * across))))


WORSE = {  # from little to much
    "blurred": (blurred, (0.5, 3, 5, 8)),
    "darkened": (darkened, (0.9, 0.5, 0.25, 0.1)),
    "hazy": (hazy, (0.9, 0.6, 0.35, 0.15)),
    "overexposed": (overexposed, (1.1, 1.8, 3, 5)),
    "half shaded": (half_shaded, (0.9, 0.6, 0.3, 0.1)),
}


@pytest.mark.parametrize("image", PHANTOMS, ids=["0", "1", "2"])
def test_a_sound_phantom_is_gradable(image):
    assert gradability(image) > 0.95


@pytest.mark.parametrize("image", PHANTOMS, ids=["0", "1", "2"])
@pytest.mark.parametrize("way", WORSE)
def test_worse_is_rated_lower_and_bad_is_warned_of(image, way):
    spoil, steps = WORSE[way]
    values = [gradability(spoil(image, step)) for step in steps]
    assert values[0] > 0.95
    assert values[-1] < WARN_BELOW
    # where it is bad already a little up or down says nothing
    assert all(later < max(earlier, 0.4) + 1e-9 for earlier, later in pairwise(values))


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def a_grey_chest():
    """Dark lungs with ribs; as grey as any radiograph."""
    y, x = np.mgrid[:300, :360]
    lungs = sum(np.hypot((x - at) / 60, (y - 150) / 110) < 1 for at in (110, 250))
    grey = 170 - 110 * lungs + 25 * np.sin(y / 9)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


NOT_RETINA = {
    "black": np.zeros((256, 256, 3), np.uint8),
    "nearly black": noise(256, 256, 3) // 64,
    "white": np.full((256, 256, 3), 255, np.uint8),
    "grey noise": np.repeat(noise(256, 256, 1), 3, axis=2),
    "noise": noise(256, 256, 3),
    "red noise": (noise(256, 256, 3) * np.array([1, 0.5, 0.3])).astype(np.uint8),
    "chest": a_grey_chest(),
    "sky": np.full((256, 256, 3), (90, 140, 220), np.uint8),
    "a chessboard": np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((32, 32)))[..., None].astype(np.uint8)
    * np.array([220, 120, 60], np.uint8),
}


@pytest.mark.parametrize("image", NOT_RETINA.values(), ids=NOT_RETINA)
def test_what_is_no_photograph_of_a_retina_is_warned_of(image):
    assert gradability(image) < WARN_BELOW


@pytest.mark.parametrize("name", ["black", "white", "noise", "chest", "sky"])
def test_where_there_is_no_field_in_colour_the_value_is_zero(name):
    assert measure(NOT_RETINA[name]) is None
    assert gradability(NOT_RETINA[name]) == 0.0


def test_smooth_noise_in_the_colours_of_retina_has_no_lines():
    grain = np.random.default_rng(0).normal(0, 400, (300, 300, 3))
    coloured = cv2.GaussianBlur(grain, (0, 0), 2) + np.array([180, 100, 60])
    assert measure(np.clip(coloured, 0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_resolution_does_not_count(size):
    assert gradability(phantom(1, size)) == pytest.approx(gradability(phantom(1, 384)), abs=0.02)


def test_decoded_prepared_and_with_a_known_field_are_rated_alike():
    wide = cv2.copyMakeBorder(PHANTOMS[0], 20, 60, 90, 30, cv2.BORDER_CONSTANT)
    plain = gradability(wide)
    assert gradability(wide, find_field_of_view(wide)) == plain
    assert gradability(prepare(wide, Contract(size=320))) == pytest.approx(plain, abs=0.02)


def test_an_upside_down_or_mirrored_photograph_is_rated_alike():
    image = blurred(PHANTOMS[1], 2)
    for turned in (image[::-1], image[:, ::-1], np.rot90(image)):
        assert measure(np.ascontiguousarray(turned)) == pytest.approx(measure(image), abs=0.1)


def test_lines_are_told_from_spots():
    plain = np.full((320, 320, 3), (180, 100, 60), np.uint8)
    lines, spots = plain.copy(), plain.copy()
    for at in range(60, 300, 60):
        cv2.line(lines, (at, 30), (at - 30, 290), (140, 60, 40), 5)
        for other in range(60, 300, 30):
            cv2.circle(spots, (at, other), 4, (140, 60, 40), -1)
        cv2.rectangle(spots, (at, 100), (at + 10, 150), (140, 60, 40), -1)
    of = {name: measure(x) for name, x in (("lines", lines), ("spots", spots), ("plain", plain))}
    where = MEASURES.index("vessels")
    assert of["lines"][where] > of["spots"][where] + 2
    assert of["spots"][where] == of["plain"][where] == pytest.approx(np.log(0.005))
    assert of["spots"][where + 1] < 0 < of["lines"][where + 1]


def test_a_user_is_told_below_one_half():
    assert warning(WARN_BELOW) is None
    said = warning(0.1234)
    assert said.startswith("may be too dark")
    assert "(gradability 0.12)" in said


def test_the_rule_by_hand(tmp_path):
    # deviations from the mean 2 and, cut at 3, 1; odds exp(0.5 + 2 x 1 - 1 x 1) = exp(1.5)
    rule = Rule(
        constant=0.5,
        weights=(1.0, -1.0),
        mean=(1.0, 2.0),
        deviation=(0.5, 1.0),
        low=(0.0, 0.0),
        high=(2.0, 3.0),
        data="none",
        command="none",
    )
    assert rule.chance(np.array([2.0, 9.0])) == pytest.approx(1 / (1 + np.exp(-1.5)))
    rule.save(tmp_path / "rule.json")
    assert Rule.load(tmp_path / "rule.json") == rule


def test_the_shipped_rule_says_what_it_was_fitted_to_and_rates_more_of_each_higher():
    rule = Rule.load(WEIGHTS)
    assert min(rule.weights) > 0  # so that less light, detail or vessels never helps
    assert len(rule.weights) == len(rule.mean) == len(MEASURES)
    assert "EyeQ" in rule.data
    script = re.search(r"benchmarks/\w+\.py", rule.command)
    assert (Path(__file__).parents[2] / script.group()).exists()


def values_of(folder, keep):
    cases = [case for case in Manifest.read(folder / "labels.csv").cases() if keep(case)][:60]
    return np.array([gradability(decode(Path(case.path), min_side=320)) for case in cases])


def quality(of):
    return lambda case: case.findings is not None and f"quality:{of}" in case.findings


def test_rejects_of_eyeq_are_warned_of_and_good_ones_are_not(shared_data):
    # the rule was fitted to these; docs/explanation/gradability.md has what it does for others
    assert (values_of(shared_data / "eyepacs", quality("reject")) < WARN_BELOW).mean() > 0.7
    assert (values_of(shared_data / "eyepacs", quality("good")) < WARN_BELOW).mean() < 0.05


@pytest.mark.parametrize("name", ["idrid", "srahim", "chase_db1", "tvhl"])
def test_other_cameras_are_not_warned_of_wholesale(shared_data, name):
    assert (values_of(shared_data / name, lambda case: True) < WARN_BELOW).mean() < 0.1


def test_chest_radiographs_are_no_retina(shared_data):
    assert values_of(shared_data / "hannover_cxr", lambda case: True).max() == 0
