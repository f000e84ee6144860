"""Two photographs and the probability that they show one eye, without an archive."""

import base64
import math
import re

import cv2
import numpy as np
import pytest

import refused
from foveola import decode, match
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import MATCHER
from foveola.errors import ImageError, MatchingError
from foveola.matching.match import Matcher


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms / "manifest.csv").cases())


@pytest.fixture(scope="module")
def first(cases):
    return cases[0]


@pytest.fixture(scope="module")
def turned(first):
    """The same eye darker, turned and nearer, as pixels."""
    image = decode(first.path)
    side = image.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 8, 1.05)
    return cv2.warpAffine((0.8 * image).astype(np.uint8), turn, (side, side))


@pytest.fixture(scope="module")
def other(cases, first):
    return next(c for c in cases if c.subject != first.subject and c.eye == first.eye)


def test_the_same_eye_is_told_from_another(first, turned, other):
    same, two = match(first.path, turned), match(first.path, other.path)
    assert same.probability > 0.9
    assert two.probability < 0.5
    assert same.evidence.inliers > two.evidence.inliers
    assert same.encoder == MATCHER


def test_evidence_and_probability_by_hand(first, turned):
    found = match(first.path, turned, prior=0.2)
    weights = found.evidence
    encoder = Encoder.load(MATCHER)
    vectors = [encoder.encode_photograph(image) for image in (decode(first.path), turned)]
    assert weights.cosine == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    # LR q / (LR q + 1 - q) with q = prior, as there is one candidate
    from foveola.matching.pair import CALIBRATION, Calibration

    known = Calibration.load(encoder.release.folder / CALIBRATION, encoder.fingerprint)
    ratio = math.exp(known.log_ratio([weights])[0])
    assert found.probability == pytest.approx(ratio * 0.2 / (ratio * 0.2 + 0.8))
    assert found.probability <= found.most + 1e-9


def test_the_evidence_is_that_of_an_archive(archive, cases):
    later = next(case for case in cases if case.visit == 12)
    with Matcher.open(archive) as matcher:
        candidate = matcher.match(later.path, candidates=3).candidates[0]
        found = match(later.path, candidate.case.path, encoder=matcher.encoder).evidence
    # the same numbers but for the scale at which the archive's JPEG was decoded
    assert found.inliers == candidate.evidence.inliers
    assert found.cosine == pytest.approx(candidate.evidence.cosine, abs=0.005)
    assert found.correlation == pytest.approx(candidate.evidence.correlation, abs=1e-6)


def test_one_picture_twice_is_refused_in_one_file_or_two(first, tmp_path):
    cv2.imwrite(str(tmp_path / "copy.png"), decode(first.path)[..., ::-1])
    for again in (first.path, tmp_path / "copy.png", decode(first.path)):
        with pytest.raises(ImageError, match="both are the very same photograph"):
            match(first.path, again)


@pytest.mark.parametrize("name", ["chest", "cat", "plain", "poor"])
def test_what_shows_no_retina_is_refused(first, name):
    picture = refused.unreadable(refused.read(first.path))[name]
    words = "so nothing is said of it; give a photograph of the retina"
    with pytest.raises(ImageError, match=f"the second photograph .*{words}"):
        match(first.path, picture)
    with pytest.raises(ImageError, match=f"the first photograph .*{words}"):
        match(picture, first.path)


def test_an_encoder_that_was_not_calibrated_is_told(first, other):
    with pytest.raises(MatchingError, match="what its evidence is worth is unknown"):
        match(first.path, other.path, encoder=Encoder.load())


def test_a_prior_out_of_range_is_told(first, other):
    with pytest.raises(ValueError, match=r"prior is 1\.5"):
        match(first.path, other.path, prior=1.5)


def test_it_is_shown_in_words_and_with_pictures_and_names_no_file(first, turned):
    found = match(first.path, turned)
    assert repr(found).startswith("The probability that both show one eye is ")
    html = found._repr_html_()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert [decode(base64.b64decode(one)).shape for one in pictures] == [(384, 384, 3)] * 3
    assert first.image.rpartition("/")[2] not in html + repr(found)
