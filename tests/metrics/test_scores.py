"""Rankings by something else than the cosine."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foveola.metrics import RetrievalData, compare, evaluate_retrieval

EXCLUDE = st.sampled_from(["subject", "eye", "visit", "none"])
BLOCK = st.sampled_from([1, 3, None])


@dataclasses.dataclass(frozen=True)
class Table:
    """Scores known beforehand, of all queries and gallery images."""

    scores: np.ndarray

    def restricted(self, queries, gallery):
        return Table(self.scores[np.ix_(queries, gallery)])

    def of_block(self, part, cosines, excluded):
        return self.scores[part]


class Cosine:
    def restricted(self, queries, gallery):
        return self

    def of_block(self, part, cosines, excluded):
        return cosines


@st.composite
def sides(draw):
    """2 to 12 images, some unlabelled, with ties, duplicates and negative cosines."""
    n = draw(st.integers(2, 12))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(-1, 2)))
    labels[draw(st.integers(0, n - 1))] = 1
    identities, eyes, visits = (
        draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))
        for values in (range(6), ("left", "right", None), (0.0, 12.0, None))
    )
    return RetrievalData(draw(rows(n)), labels, identities, ("a", "b", "c"), eyes=eyes, visits=visits)


def rows(n):
    return hnp.arrays(np.float32, (n, 2), elements=st.sampled_from([-2.0, -1.0, 1.0, 2.0]))


def same(one, other):
    assert one.to_dict() == other.to_dict()
    assert np.array_equal(one.per_query.values, other.per_query.values, equal_nan=True)
    assert np.array_equal(one.per_query.chance, other.per_query.chance, equal_nan=True)


@settings(deadline=None, max_examples=40)
@given(queries=sides(), gallery=st.none() | sides(), out=EXCLUDE, block=BLOCK)
def test_the_cosine_as_a_score_changes_no_digit(queries, gallery, out, block):
    plain = evaluate_retrieval(queries, gallery, ks=(1, 3), exclude=out, bootstrap=20)
    same(
        plain, evaluate_retrieval(queries, gallery, ks=(1, 3), exclude=out, bootstrap=20, block=block, scores=Cosine())
    )


@settings(deadline=None, max_examples=60)
@given(queries=sides(), gallery=st.none() | sides(), out=EXCLUDE, block=BLOCK, data=st.data())
def test_scores_by_other_descriptors_are_the_evaluation_of_those(queries, gallery, out, block, data):
    """With unlabelled images on both sides, whose rows must be left out at their places."""
    other = [
        side and dataclasses.replace(side, descriptors=data.draw(rows(len(side.identities))))
        for side in (queries, gallery)
    ]
    asked, ranked = (
        side.descriptors / np.linalg.norm(side.descriptors.astype(float), axis=1, keepdims=True)
        for side in (other[0], other[1] or other[0])
    )
    expected = evaluate_retrieval(*other, ks=(1, 3), exclude=out, bootstrap=20)
    scores = Table(asked @ ranked.T)
    same(
        expected, evaluate_retrieval(queries, gallery, ks=(1, 3), exclude=out, bootstrap=20, block=block, scores=scores)
    )


@settings(deadline=None, max_examples=40)
@given(queries=sides(), gallery=st.none() | sides(), out=EXCLUDE, block=BLOCK)
def test_a_score_that_knows_what_is_right_is_perfect(queries, gallery, out, block):
    ranked = gallery or queries
    knows = Table((queries.labels @ ranked.labels.T).astype(float))
    got = evaluate_retrieval(queries, gallery, ks=(1, 3), exclude=out, block=block, bootstrap=0, scores=knows)
    asked = got.queries - got.queries_without_relevant
    for name in ("mAP", "mAP@R", "R-precision", "MRR"):
        values = got.per_query.values[:, list(got.metrics).index(name)]
        assert values[~np.isnan(values)].tolist() == [1.0] * asked
    for name in ("mHR@1", "hit@1", "hit@3"):
        assert got.metrics[name].value.micro == pytest.approx(asked / got.queries)


def crowd():
    """120 photographs of 40 people, every fifth unlabelled, descriptors of noise."""
    generator = np.random.default_rng(7)
    grades = generator.integers(3, size=120)
    grades[::5] = -1
    descriptors = generator.normal(size=(120, 8)).astype(np.float32)
    return RetrievalData(descriptors, grades, (np.arange(120) // 3).tolist(), label="grade")


def test_the_gain_over_the_cosine_is_paired_by_query():
    side = crowd()
    generator = np.random.default_rng(8)
    right = (side.labels @ side.labels.T).astype(float)
    scores = Table(0.3 * right + 0.7 * generator.random((120, 120)))
    cosine = evaluate_retrieval(side, ks=(5,), bootstrap=200)
    learned = evaluate_retrieval(side, ks=(5,), bootstrap=200, scores=scores)
    got = compare(cosine, learned)
    assert got.queries == 96
    for m, (name, metric) in enumerate(got.metrics.items()):
        gain = learned.per_query.values[:, m] - cosine.per_query.values[:, m]
        assert metric.value.micro == pytest.approx(gain.mean())
        assert metric.chance.micro == 0
        assert metric.low.micro > 0, name


def test_a_score_is_told_what_is_left_out():
    told = {}

    class Listening(Cosine):
        def of_block(self, part, cosines, excluded):
            told.update(zip(range(part.start, part.stop), excluded.copy(), strict=True))
            scores = cosines.copy()
            scores[excluded] = 1  # of no avail
            return scores

    side = crowd()
    same(
        evaluate_retrieval(side, ks=(5,), bootstrap=0),
        evaluate_retrieval(side, ks=(5,), bootstrap=0, scores=Listening()),
    )
    people = np.array(side.labelled().identities)
    found = np.stack([told[q] for q in range(len(people))])
    assert np.array_equal(found, people[:, None] == people)  # oneself too


def test_rows_that_remain_are_told_once_by_their_place():
    asked = []

    class Listening(Cosine):
        def restricted(self, queries, gallery):
            asked.append((queries.tolist(), gallery.tolist()))
            return self

    queries = RetrievalData(np.ones((4, 2)), np.array([-1, 0, -1, 0]), "abcd")
    gallery = RetrievalData(np.ones((3, 2)), np.array([0, 0, -1]), "efg")
    evaluate_retrieval(queries, gallery, ks=(1,), bootstrap=0, block=1, scores=Listening())
    evaluate_retrieval(queries, ks=(1,), bootstrap=0, block=1, scores=Listening())
    assert asked == [([1, 3], [0, 1]), ([1, 3], [1, 3])]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (np.zeros((3, 2)), r"expected scores \(3, 3\) of a block of queries, got \(3, 2\)"),
        (np.full((3, 3), np.nan), "expected scores from -1 to 1, got nan"),
        (np.diag([0, 0, 1.5]), "got 0 to 1.5"),
        (np.diag([0, -np.inf, 0]), "got -inf to 0"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(scores, words):
    class Wrong(Cosine):
        def of_block(self, part, cosines, excluded):
            return scores

    side = RetrievalData(np.ones((3, 2)), np.zeros(3, int), "abc")
    with pytest.raises(ValueError, match=words):
        evaluate_retrieval(side, ks=(1,), bootstrap=0, scores=Wrong())


def test_what_is_left_out_cannot_be_put_back():
    class Leaking(Cosine):
        def of_block(self, part, cosines, excluded):
            excluded[:] = False
            return cosines

    with pytest.raises(ValueError, match="read-only"):
        evaluate_retrieval(crowd(), ks=(1,), bootstrap=0, scores=Leaking())
