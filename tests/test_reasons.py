"""Can the map be believed? It goes where lesions go, and changes when the model does."""

import numpy as np
import pytest

from foveola.encoders.encoder import Encoder
from foveola.encoders.parts import Parts, randomised
from foveola.encoders.release import DEFAULT, read_release
from foveola.explain import occlusion_map, removal_map
from foveola.images.fundus import prepare
from foveola.phantom import make_eye, make_subject, render

SIDE = 320
HALF = SIDE // 2


@pytest.fixture(scope="module")
def release():
    return read_release(DEFAULT)


@pytest.fixture(scope="module")
def right(release):
    return Parts(release)


@pytest.fixture(scope="module")
def wrong(release, tmp_path_factory):
    return Parts(randomised(release, tmp_path_factory.mktemp("wrong")))


def drawn(number, grade):
    """An eye of a phantom person at a grade, and where its lesions are."""
    phantom = render(make_eye(make_subject(4, number), "right"), [grade], size=SIDE)
    lesions = [phantom.masks[kind] for kind in ("MA", "HE", "EX", "SE", "NV")]
    return phantom.image, np.logical_or.reduce(lesions)


@pytest.fixture(scope="module")
def eyes():
    """Of five people: one eye without lesions and with, its mask; another's eye with lesions."""
    made = []
    for number in range(5):
        healthy, _ = drawn(number, 0)
        sick, mask = drawn(number, 3)
        made.append((healthy, sick, mask, drawn(number + 50, 3)[0]))
    return made


def explained(parts, image, other):
    own, others = parts.features(image), parts.features(other)
    pooled = parts.pooling.root(parts.pooling.powers(others).mean(axis=(1, 2)))
    return removal_map(own, parts.descriptors(pooled[None])[0], parts).contributions


def correlation(one, two):
    """Of the ranks of the positions in the field."""
    y, x = (np.indices(one.shape) + 0.5) / len(one) - 0.5
    inside = np.hypot(y, x) <= 0.5
    ranks = [np.argsort(np.argsort(heat[inside])) for heat in (one, two)]
    return float(np.corrcoef(ranks)[0, 1])


def test_the_map_goes_where_the_lesions_go(right, eyes):
    # One eye twice, its lesions on the left half only or on the right half only: vessels, disc and
    # light are the same, and what moves with the lesions is due to them.
    moved = []
    for healthy, sick, mask, other in eyes:
        assert mask[:, :HALF].any()
        assert mask[:, HALF:].any()
        left, other_half = healthy.copy(), healthy.copy()
        left[:, :HALF], other_half[:, HALF:] = sick[:, :HALF], sick[:, HALF:]
        maps = [explained(right, image, other) for image in (left, other_half)]
        half = maps[0].shape[1] // 2  # of 11 columns the one in the middle is on neither side
        shares = [heat[:, :half].sum() - heat[:, -half:].sum() for heat in maps]
        moved.append(shares[0] - shares[1])
    assert np.mean(np.array(moved) > 0) > 0.5
    assert np.mean(moved) > 0.1


def test_the_map_of_a_model_that_was_spoilt_is_another(right, wrong, eyes):
    found = [correlation(explained(right, sick, other), explained(wrong, sick, other)) for _, sick, _, other in eyes]
    assert abs(np.mean(found)) < 0.4


def test_covering_the_photograph_agrees_with_the_map(right, release, eyes):
    encoder = Encoder(release, threads=1)
    _, sick, _, other = eyes[0]
    removed = explained(right, sick, other)
    covered = occlusion_map(
        prepare(sick, release.contract), encoder.encode_photograph(other), encoder.encode, cells=len(removed)
    )
    assert correlation(covered.contributions, removed) > 0.3


def test_a_spoilt_model_keeps_the_weights_and_none_of_their_order(release, tmp_path):
    made = randomised(release, tmp_path, seed=1)
    before = np.frombuffer((release.folder / "model.bin").read_bytes(), np.uint8)
    after = np.frombuffer((made.folder / "model.bin").read_bytes(), np.uint8)
    assert len(before) == len(after)
    assert (np.bincount(before) == np.bincount(after)).all()
    assert (before != after).mean() > 0.5
    image = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    one, two = (Encoder(each, 1).encode_photograph(image) for each in (release, made))
    assert one @ two < 0.95
