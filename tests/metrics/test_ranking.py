import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foveola.metrics.ranking import Gallery, query_blocks, rank

# Few values, so that ties are common; what differs by less than 2^-30 is equal.
FEW = st.sampled_from([-1.0, -0.5, -1e-8, -0.0, 0.0, 1e-17, 1e-8, 0.25, np.nextafter(0.25, 0), 1.0])


@given(st.data())
def test_ranking_matches_a_sorted_list(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    similarity = data.draw(hnp.arrays(np.float64, shape, elements=FEW))
    relevance = data.draw(hnp.arrays(bool, shape))
    excluded = data.draw(hnp.arrays(bool, shape))
    first = data.draw(st.integers(0, 10))
    got = rank(similarity, relevance, excluded, first)
    for row in range(shape[0]):
        kept = [i for i in range(shape[1]) if not excluded[row, i]]
        kept.sort(key=lambda i: -round(similarity[row, i], 9))  # Python's sort is stable
        expected = [bool(relevance[row, i]) for i in kept]
        assert got.relevance[row].tolist() == expected + [False] * (shape[1] - len(kept))
        nothing = [-1] * (shape[1] - len(kept))
        assert got.first[row].tolist() == (kept + nothing)[:first]


def test_excluded_images_come_last_even_when_they_are_called_relevant():
    got = rank(np.array([[1.0, -1.0]]), np.array([[1, 1]], bool), np.array([[1, 0]], bool), 2)
    assert got.relevance.tolist() == [[True, False]]
    assert got.first.tolist() == [[1, -1]]


def test_cosines_ignore_length_and_can_be_negative():
    got = Gallery(np.float32([[5, 0], [-2, 0], [1, 1]])).cosines(np.float32([[3, 0], [0, 1]]))
    assert np.allclose(got, [[1, -1, 0.5**0.5], [0, 0, 0.5**0.5]])


def test_equal_descriptors_keep_their_order_wherever_they_stand():
    # Orthogonal pairs too: their cosine is 0 but for the last bit, which has either sign.
    generator = np.random.default_rng(1)
    one = generator.normal(size=(1, 333)).astype(np.float32)
    queries = generator.normal(size=(37, 333)).astype(np.float32)
    queries[1, 0] = -(queries[1, 1:].astype(float) @ one[0, 1:]) / one[0, 0]
    relevance = generator.random((37, 1001)) < 0.5
    nothing = np.zeros_like(relevance)
    similarity = Gallery(np.repeat(one, 1001, axis=0)).cosines(queries)
    assert np.array_equal(rank(similarity, relevance, nothing).relevance, relevance)


@pytest.mark.usefixtures("unwritten")
def test_cosines_in_tiles_are_those_of_one_product(monkeypatch):
    generator = np.random.default_rng(2)
    queries = generator.normal(size=(3, 8)).astype(np.float32)
    gallery = generator.normal(size=(50, 8)).astype(np.float32)
    whole = Gallery(gallery).cosines(queries)
    monkeypatch.setattr("foveola.metrics.ranking._BLOCK_BYTES", 7 * 16 * 8)  # seven rows of fifty
    assert np.allclose(Gallery(gallery).cosines(queries), whole, rtol=0, atol=1e-14)


def test_blocks_cover_every_query_once_within_the_memory_allowed():
    slices = list(query_blocks(7022, 28086))
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(7022))
    assert max(s.stop - s.start for s in slices) * 28086 * 40 <= 64 << 20
    assert len(list(query_blocks(2, 10**9))) == 2  # never less than one query at a time
