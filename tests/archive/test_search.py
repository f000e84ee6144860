import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveola.archive.search import _kth, product, top_k, unit


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
