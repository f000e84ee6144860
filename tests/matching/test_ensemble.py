"""Ensembles as the AdaTriplet paper makes them, against its own words in numpy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from foveola.matching.ensemble import ensemble

RNG = np.random.default_rng(0)
MODELS = [RNG.normal(size=(12, 6)).astype(np.float32) for _ in range(3)]
UNITS = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in MODELS]


def order(similarity):
    return np.argsort(-similarity, axis=1, kind="stable")


def test_distances_are_averaged():
    mean = np.mean([cdist(u, u, "sqeuclidean") for u in UNITS], axis=0)
    assert ensemble(MODELS) == pytest.approx(1 - mean / 2, abs=1e-6)
    assert (order(ensemble(MODELS)) == order(-mean)).all()


def test_features_are_averaged_without_a_new_length():
    mean = np.mean(UNITS, axis=0)
    distance = cdist(mean, mean)
    got = ensemble(MODELS, "features")
    assert got == pytest.approx(1 - distance**2 / 2, abs=1e-6)
    assert (order(got)[:, 1:] == order(-distance)[:, 1:]).all()
    assert (order(got) != order(ensemble(MODELS))).any()  # the two ways differ


def test_one_model_is_itself_either_way():
    assert ensemble(MODELS[:1]) == pytest.approx(ensemble(MODELS[:1], "features"), abs=1e-6)


@pytest.mark.parametrize(
    ("models", "how", "sentence"),
    [
        ([], "distances", "models of the same images"),
        ([MODELS[0], MODELS[1][:5]], "distances", "models of the same images"),
        ([MODELS[0], np.ones((12, 2), np.float32)], "features", "models of the same images"),
        ([np.zeros((3, 2), np.float32)], "distances", "without a row of zeros"),
        (MODELS, "votes", "how is 'votes'"),
    ],
)
def test_models_that_do_not_fit_are_refused(models, how, sentence):
    with pytest.raises(ValueError, match=sentence):
        ensemble(models, how)
