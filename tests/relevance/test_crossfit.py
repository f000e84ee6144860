"""No person of a query is in the fit that judges it."""

import numpy as np
import pytest

from foveola.assessment import scores_of
from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.relevance import crossfit, learn
from foveola.relevance.labels import LabelTable
from foveola.relevance.learn import TooFewError

PEOPLE, PHOTOGRAPHS = 60, 3
MACRO = "mAP@10"


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def marked(seed=0):
    """Descriptors that say whose a photograph is, and nothing of the label of that person."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(PEOPLE), PHOTOGRAPHS)
    own = np.eye(PEOPLE)[of] * 3
    grades = rng.permutation(np.arange(PEOPLE) % 3)[of]
    return unit(own + rng.normal(0, 0.3, own.shape)), grades, of


def sides(vectors, grades, of):
    side = RetrievalData(vectors, grades, of.tolist(), ("0", "1", "2"), "grade")
    return side, LabelTable.of("grade", [{str(g)} for g in grades])


def macro(done):
    return done.metrics[MACRO].value.macro, done.metrics[MACRO].chance.macro


@pytest.fixture
def by_heart(monkeypatch):
    """Fits that follow their cases closely and believe themselves: what leaks, shows."""
    monkeypatch.setattr(learn, "PENALTIES", (0.001,))
    monkeypatch.setattr(learn, "logits_apart", lambda whole, apart, fold, x: whole.logits(x))


@pytest.mark.usefixtures("by_heart")
def test_who_asks_taught_nothing_so_that_a_mark_of_a_person_finds_nothing():
    side, labels = sides(*marked())
    learned, _ = macro(evaluate_retrieval(side, ks=(10,), scores=scores_of(side, labels)))
    # ten hits of one grade, which is the query's for one in three: what guessing reaches
    assert abs(learned - 1 / 3) < 0.12


@pytest.mark.usefixtures("by_heart")
def test_a_planted_leak_is_seen(monkeypatch):
    # The same measurement with a fit that holds the people who ask: it must find them out.
    side, labels = sides(*marked())
    honest = crossfit.learn

    def leaking(descriptors, labels_, people, **settings):
        of = np.unique(marked()[2], return_inverse=True)[1]
        return honest(side.descriptors, labels, of, **settings)

    monkeypatch.setattr(crossfit, "learn", leaking)
    monkeypatch.setattr(
        crossfit,
        "_gallery",
        lambda made, gallery, labels, taught: crossfit._Fold(
            crossfit.targets_of(labels, labels.members), crossfit.codes_in(labels)
        ),
    )
    learned, _ = macro(evaluate_retrieval(side, ks=(10,), scores=scores_of(side, labels)))
    assert learned > 0.8


def alike(seed=1, people=80):
    """Descriptors that say a label a little."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(people), 2)
    grades = (np.arange(people) % 3)[of]
    means = rng.normal(0, 1, (3, 24))
    return unit(means[grades] * 0.5 + rng.normal(0, 1, (len(of), 24))), grades, of


def test_what_is_learnt_finds_more_than_looks():
    side, labels = sides(*alike())
    looks, _ = macro(evaluate_retrieval(side, ks=(10,)))
    learned, _ = macro(evaluate_retrieval(side, ks=(10,), scores=scores_of(side, labels)))
    assert learned > looks + 0.1


def test_queries_of_their_own_are_answered_by_a_gallery_without_who_asks():
    vectors, grades, of = alike()
    asks = of < 20
    gallery, labels = sides(vectors[of >= 10], grades[of >= 10], of[of >= 10])  # 10 people overlap
    asked, _ = sides(vectors[asks], grades[asks], of[asks])
    scores = scores_of(gallery, labels, asked)
    alone, of_alone = sides(vectors[of >= 20], grades[of >= 20], of[of >= 20])
    apart = scores_of(alone, of_alone, asked)
    for one, other in zip(scores.wanted, apart.wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_scores_are_those_of_a_loop_in_any_block():
    vectors, grades, of = alike()
    side, labels = sides(vectors, grades, of)
    scores = scores_of(side, labels)
    cosines = vectors.astype(float) @ vectors.T.astype(float)
    excluded = of[:, None] == of
    whole = scores.of_block(slice(0, len(of)), cosines.copy(), excluded)
    for i in (0, 7, 50):
        part = slice(i, i + 1)
        alone = scores.of_block(part, cosines[part].copy(), excluded[part])
        np.testing.assert_allclose(alone[0], whole[i], rtol=0, atol=1e-12)
        fold = scores.folds[scores.fold[i]]
        slow = [
            (1 - scores.share) * cosines[i, j] + scores.share * (scores.wanted[i] @ fold.targets[j])
            for j in range(len(of))
        ]
        raised = whole[i] >= 0.998
        assert raised.sum() in (0, crossfit.FIRST)
        factor = 0.99 if raised.any() else 1.0
        np.testing.assert_allclose(whole[i][~raised], factor * np.array(slow)[~raised], atol=1e-6)


def test_too_few_labels_are_told_with_numbers():
    vectors, grades, of = alike(people=6)
    side, labels = sides(vectors, grades, of)
    with pytest.raises(TooFewError, match="record more labels"):
        scores_of(side, labels)
