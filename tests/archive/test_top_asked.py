"""An order by labels and looks against the definition: every row by itself, in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveola.archive.search import top_asked, top_k
from foveola.relevance.order import FIRST, Asked
from relevance.made import slow_spread


def slow(query, matrix, k, asked, rows=None):
    """Rows, scores, cosines and the greatest cosine."""
    rows = list(range(len(matrix))) if rows is None else list(rows)
    cosines = [float(np.float32(np.clip((query.astype(float) * matrix[r]).sum(), -1, 1))) for r in rows]
    agreements = [float((asked.wanted * asked.targets[r].astype(float)).sum()) for r in rows]
    scores = [
        float(np.float32((1 - asked.share) * c + asked.share * a)) for c, a in zip(cosines, agreements, strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda i: (-scores[i], rows[i]))
    by_score = [np.array(each)[order] for each in (scores, agreements, asked.codes[rows])]
    first = [order[i] for i in slow_spread(*by_score, asked.share, min(k, FIRST))]
    order = (first + [i for i in order if i not in first])[:k]
    return [rows[i] for i in order], [scores[i] for i in order], [cosines[i] for i in order]


def cosines_of(query, matrix):
    return slow(
        query, matrix, len(matrix), Asked(np.zeros(1), np.zeros((len(matrix), 1)), np.full(len(matrix), -1), 0.9)
    )[2]


def made(seed, count, *, values=4, dimension=8, different=None, share=0.9, labels="mixed"):
    """A query, a matrix with equal rows in it, and what is asked."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(different or count, dimension))
    v = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
    at = rng.integers(0, len(v), count) if different else np.arange(count)
    own = rng.integers(-1 if labels != "all" else 0, values, len(v))
    if labels == "none":
        own[:] = -1
    targets = rng.dirichlet(np.full(values, 0.5), len(v))
    targets[own >= 0] = 0.9 * np.eye(values)[own[own >= 0]] + 0.1 * targets[own >= 0]
    wanted = rng.dirichlet(np.ones(values))
    query = rng.normal(size=dimension)
    query = (query / np.linalg.norm(query)).astype(np.float32)
    return query, v[at], Asked(wanted, targets.astype(np.float32)[at], own[at], share)


@given(
    st.integers(0, 10**6),
    st.integers(1, 120),
    st.integers(1, 130),
    st.sampled_from([None, 1, 5, 30]),
    st.sampled_from([0.5, 0.9, 1.0]),
    st.sampled_from(["mixed", "all", "none"]),
)
def test_it_matches_the_slow_definition(seed, count, k, different, share, labels):
    query, matrix, asked = made(seed, count, different=different, share=share, labels=labels)
    found = top_asked(query, matrix, k, asked)
    rows, scores, cosines = slow(query, matrix, k, asked)
    assert found.rows.tolist() == rows
    assert found.scores.tolist() == pytest.approx(scores, abs=1e-7)
    assert found.cosines.tolist() == cosines
    assert found.nearest == max(cosines_of(query, matrix))


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("seed", range(2))
def test_among_many_cases_too(seed, share):
    """Where far from all are looked at again: odds that let a rare value in after some hits."""
    query, matrix, asked = made(seed, 1500, dimension=32, share=share)
    for wanted in ([0.45, 0.40, 0.1, 0.05], [0.3, 0.3, 0.2, 0.2], [0.9, 0.05, 0.03, 0.02]):
        asked = asked._replace(wanted=np.array(wanted))
        rows, *_ = slow(query, matrix, 30, asked)
        for k in (1, 5, FIRST, 30):
            assert top_asked(query, matrix, k, asked).rows.tolist()[:FIRST] == rows[: min(k, FIRST)]
        assert top_asked(query, matrix, 30, asked).rows.tolist() == rows


def test_a_rare_value_with_one_case_is_found_among_many():
    query, matrix, asked = made(0, 3000, labels="all")
    targets = 0.9 * np.eye(4, dtype=np.float32)[np.zeros(3000, int)]
    targets[1234] = 0.9 * np.eye(4)[2]
    codes = np.zeros(3000, np.int64)
    codes[1234] = 2
    matrix = np.repeat(query[None], 3000, axis=0)
    for odds, shown in (([0.45, 0.1, 0.40, 0.05], True), ([0.8, 0.05, 0.1, 0.05], False)):
        asked = Asked(np.array(odds), targets, codes, 0.9)
        assert (1234 in top_asked(query, matrix, FIRST, asked).rows) is shown


def test_both_of_two_likely_values_are_shown_and_one_that_is_sure_alone():
    query, matrix, asked = made(3, 400, labels="all", share=0.9)
    targets = 0.9 * np.eye(4, dtype=np.float32)[asked.codes]

    def shown(*odds):
        found = top_asked(query, matrix, 12, Asked(np.array(odds), targets, asked.codes, 0.9))
        return set(asked.codes[found.rows].tolist())

    assert {0, 1} <= shown(0.45, 0.40, 0.1, 0.05)
    assert shown(0.8, 0.1, 0.05, 0.05) == {0}


@given(st.integers(0, 10**6), st.integers(1, 60))
def test_only_the_rows_given_are_searched(seed, k):
    query, matrix, asked = made(seed, 60, different=20)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(60) < 0.4)
    found = top_asked(query, matrix, k, asked, rows=chosen)
    rows, *_ = slow(query, matrix, k, asked, rows=chosen)
    assert found.rows.tolist() == rows
    few = chosen[:3]
    found = top_asked(query, matrix, k, asked, rows=few)
    assert found.rows.tolist() == slow(query, matrix, k, asked, rows=few)[0]


def test_no_rows_and_no_matrix_have_no_hits():
    query, matrix, asked = made(0, 5)
    found = top_asked(query, matrix, 3, asked, rows=np.empty(0, np.int64))
    assert found.rows.tolist() == found.scores.tolist() == found.cosines.tolist() == []
    assert found.nearest is None
    empty = asked._replace(targets=asked.targets[:0], codes=asked.codes[:0])
    assert top_asked(query, matrix[:0], 3, empty).nearest is None


def test_more_hits_than_cases():
    query, matrix, asked = made(0, 5)
    assert sorted(top_asked(query, matrix, 99, asked).rows.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("labels", ["all", "none"])
def test_equal_cases_come_by_their_rows_wherever_they_lie(labels):
    query, matrix, asked = made(1, 4000, different=3, dimension=64, labels=labels)
    asked = asked._replace(codes=np.full(4000, 1 if labels == "all" else -1))
    found = top_asked(query, matrix, 4000, asked)
    for score in set(found.scores.tolist()):
        assert (np.diff(found.rows[found.scores == score]) > 0).all()
    assert (np.diff(found.scores) <= 0).all()


def test_what_is_found_does_not_depend_on_copies_elsewhere():
    query, matrix, asked = made(2, 300)
    alone = top_asked(query, matrix, 20, asked)
    worst = int(((1 - asked.share) * (matrix @ query) + asked.share * (asked.targets @ asked.wanted)).argmin())
    more = asked._replace(
        targets=np.concatenate([asked.targets, asked.targets[[worst] * 500]]),
        codes=np.concatenate([asked.codes, asked.codes[[worst] * 500]]),
    )
    found = top_asked(query, np.concatenate([matrix, matrix[[worst] * 500]]), 20, more)
    assert found.rows.tolist() == alone.rows.tolist()
    assert found.scores.tobytes() == alone.scores.tobytes()
    assert found.cosines.tobytes() == alone.cosines.tobytes()


def test_cosines_are_those_of_a_search_by_looks():
    query, matrix, asked = made(5, 500)
    found = top_asked(query, matrix, 500, asked)
    (rows,), (cosines,) = top_k(query[None], matrix, 500)
    looks = dict(zip(rows.tolist(), cosines.tolist(), strict=True))
    assert found.cosines.tolist() == [looks[row] for row in found.rows.tolist()]
    assert found.nearest == float(cosines[0])
