"""Exact nearest neighbours, by the cosine and by what an archive learnt, against slow definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveola.archive.search import _kth, product, top_asked, top_k, unit
from foveola.relevance.order import FIRST, Asked
from relevance.made import slow_spread


def slow_top_k(query, matrix, k):
    """The definition: cosine of each row by itself, sorted by falling cosine, then by row."""
    scores = [np.float32((query.astype(float) * row.astype(float)).sum()) for row in matrix]
    scores = [min(max(float(s), -1.0), 1.0) for s in scores]
    order = sorted(range(len(matrix)), key=lambda i: (-scores[i], i))[:k]
    return order, [scores[i] for i in order]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 300),
    st.sampled_from([1, 2, 3, 17, 64, 257]),
    st.integers(1, 320),
    st.integers(0, 9),
    st.integers(1, 300),
)
def test_top_k_matches_a_loop(count, dimension, k, seed, different):
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(different, dimension)) + 1e-3
    v = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
    matrix = v[rng.integers(0, different, count)]  # with many equal rows
    query = v[:1]
    rows, similarities = top_k(query, matrix, k)
    expected_rows, expected = slow_top_k(query[0], matrix, k)
    assert rows[0].tolist() == expected_rows
    assert similarities[0].tolist() == expected


def test_top_k_by_hand():
    # On the unit circle: 0, 60, 90 and 180 degrees from the query.
    matrix = np.array([[-1, 0], [0.5, 0.75**0.5], [0, 1], [1, 0]], np.float32)
    rows, similarities = top_k(np.array([[1, 0]], np.float32), matrix, 4)
    assert rows.tolist() == [[3, 1, 2, 0]]
    assert similarities[0] == pytest.approx([1, 0.5, 0, -1])


@pytest.mark.parametrize("asked", [1, 2])  # without BLAS and with it
def test_equal_vectors_spread_over_a_large_matrix_come_in_order_of_their_rows(vectors, asked):
    for dimension in (3, 61, 256):
        matrix = vectors(5000, dimension, seed=dimension)
        query = np.repeat(vectors(1, dimension, seed=1), asked, axis=0)
        twins = np.sort(np.random.default_rng(2).choice(5000, 700, replace=False))
        twins = np.union1d(twins, [0, 1, 4998, 4999])  # the edges, where BLAS differs
        twin = matrix[twins[0]] + 3 * query[0]  # near the query, so they lead
        matrix[twins] = (twin / np.linalg.norm(twin)).astype(np.float32)
        whole, scores = top_k(query, matrix, 5000)
        first = int(np.flatnonzero(np.isin(whole[0], twins))[0])
        assert whole[0, first : first + len(twins)].tolist() == twins.tolist()
        assert len(set(scores[0, first : first + len(twins)].tolist())) == 1
        for k in (1, 2, 3, 10, 100, len(twins) - 1, len(twins), len(twins) + 1):
            assert top_k(query, matrix, k)[0][0].tolist() == whole[0, :k].tolist()


@pytest.mark.parametrize("asked", [1, 2])  # without BLAS and with it
def test_neighbours_closer_than_float32_products_can_tell_are_ranked_right(vectors, asked):
    # Rows that differ by a few units in the last place: the product's own order is luck.
    rng = np.random.default_rng(5)
    base = vectors(1, 512, seed=3)[0]
    matrix = np.repeat(base[None], 3000, axis=0)
    matrix += rng.normal(scale=2e-7, size=matrix.shape).astype(np.float32) * np.abs(matrix)
    query = np.repeat(vectors(1, 512, seed=3), asked, axis=0)
    expected, _ = slow_top_k(query[0], matrix, 20)
    assert top_k(query, matrix, 20)[0][0].tolist() == expected


def test_the_rows_given_are_the_only_ones_searched(vectors):
    matrix = vectors(400)
    query = vectors(1, seed=9)
    for rows in (np.arange(0, 400, 7), np.arange(0, 400, 2), np.array([399]), np.arange(0)):
        found, similarities = top_k(query, matrix, 10, rows=rows)
        expected, scores = slow_top_k(query[0], matrix[rows], 10)
        assert found[0].tolist() == [int(rows[i]) for i in expected]
        assert similarities[0].tolist() == scores


@pytest.mark.usefixtures("unwritten")
def test_many_queries_at_once_give_what_each_gives_alone(vectors, monkeypatch):
    monkeypatch.setattr("foveola.archive.search._PRODUCT", 1000)  # so that it takes several parts
    monkeypatch.setattr("foveola.archive.search._CHUNK", 7)
    matrix = vectors(333)
    queries = vectors(11, seed=4)
    rows, similarities = top_k(queries, matrix, 9)
    for i in range(11):
        alone = top_k(queries[i : i + 1], matrix, 9)
        assert rows[i].tolist() == alone[0][0].tolist()
        assert similarities[i].tolist() == alone[1][0].tolist()


def test_similarities_stay_within_one(vectors):
    matrix = vectors(200, 512) * np.float32(1.0000005)  # as long as `unit` lets pass
    _, similarities = top_k(matrix, matrix, 200)
    assert similarities.max() <= 1
    assert similarities.min() >= -1
    assert similarities[:, 0] == pytest.approx(1)


def test_an_empty_matrix_has_no_neighbours():
    rows, similarities = top_k(np.ones((2, 1), np.float32), np.empty((0, 1), np.float32), 3)
    assert rows.shape == similarities.shape == (2, 0)


def test_top_k_refuses_shapes_that_do_not_fit(vectors):
    with pytest.raises(ValueError, match=r"got \(1, 8\) and \(3, 4\)"):
        top_k(vectors(1), vectors(3, 4), 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        top_k(vectors(1), vectors(3), 0)


def test_unit_keeps_a_unit_vector_bit_for_bit_and_mends_half_precision(vectors):
    for v in vectors(100, 64) * np.float32(1.0000005):
        assert unit(v, 64).tobytes() == v.tobytes()
    mended = unit(v * np.float32(1.0008), 64)
    assert np.linalg.norm(mended.astype(float)) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1, 0, 0], r"shape \(2,\), got \(3,\)"),
        ([[1, 0]], r"shape \(2,\), got \(1, 2\)"),
        ([1, np.nan], "length 1, got nan"),
        ([np.inf, 0], "length 1, got inf"),
        ([0, 0], "length 1, got 0"),
        ([1.002, 0], "length 1, got 1.002"),
        ([0.998, 0], "length 1, got 0.998"),
    ],
)
def test_unit_refuses_what_is_no_descriptor(vector, message):
    with pytest.raises(ValueError, match=message):
        unit(np.array(vector, np.float32), 2)


@pytest.mark.usefixtures("unwritten")
@pytest.mark.parametrize("cores", [2, 3])
def test_cores_that_share_a_large_matrix_find_what_one_finds(vectors, monkeypatch, cores):
    matrix, query = vectors(1000), vectors(1, seed=4)
    alone = top_k(query, matrix, 20)
    monkeypatch.setattr("foveola.archive.search._ALONE", 100)
    monkeypatch.setattr("foveola.archive.search._cores", lambda: cores)
    shared = top_k(query, matrix, 20)
    assert all((a == b).all() for a, b in zip(alone, shared, strict=True))
    assert product(matrix, query[0]) == pytest.approx(matrix @ query[0], abs=1e-5)


def test_the_kth_greatest_is_that_of_a_sorted_list():
    rng = np.random.default_rng(4)
    for n, k in ((1, 1), (63, 5), (64, 1), (300, 300), (5_000, 12), (70_001, 1_000), (70_001, 2)):
        for values in (rng.normal(size=n), rng.integers(0, 3, n), np.zeros(n)):
            scores = values.astype(np.float32)
            assert _kth(scores, k) == np.sort(scores)[::-1][k - 1]


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
