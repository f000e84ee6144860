import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from foveola.metrics.chance import (
    expected_any_hit,
    expected_average_precision,
    expected_average_precision_at_r,
    expected_average_precision_author,
    expected_average_precision_per_hit,
    expected_hit_ratio,
    expected_ndcg,
    expected_r_precision,
    expected_reciprocal_rank,
)
from foveola.metrics.metrics import (
    any_hit,
    average_precision,
    average_precision_at_r,
    average_precision_author,
    average_precision_per_hit,
    hit_ratio,
    ndcg,
    r_precision,
    reciprocal_rank,
)

GOLDEN = np.array([[1, 0, 1, 1, 0]], dtype=bool)  # docs/explanation/methods.md, section 4


def test_the_golden_vector():
    assert hit_ratio(GOLDEN, 5) == pytest.approx([0.6])
    assert average_precision_author(GOLDEN, 5) == pytest.approx([0.483333], abs=1e-6)


def test_average_precision_at_r_by_hand():
    # Three relevant: ranks 1 to 3 hold hit, miss, hit: (1/1 + 2/3) / 3. The hit at rank 4 is late.
    assert average_precision_at_r(GOLDEN, [3]) == pytest.approx([(1 + 2 / 3) / 3])


def test_average_precision_at_r_takes_each_query_to_its_own_depth():
    two = np.array([[0, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
    assert average_precision_at_r(two, [2, 1]) == pytest.approx([(1 / 2) / 2, 1.0])


def test_a_query_without_relevant_images_has_no_average_precision_at_r():
    nothing = np.zeros((1, 4), dtype=bool)
    assert np.isnan(average_precision_at_r(nothing, [0])).all()
    assert np.isnan(expected_average_precision_at_r([0], [4])).all()
    assert hit_ratio(nothing, 2) == [0.0]
    assert average_precision_author(nothing, 2) == [0.0]


def test_a_short_ranking_is_still_divided_by_k():
    ranked = np.array([[1, 1]], dtype=bool)
    assert hit_ratio(ranked, 5) == pytest.approx([2 / 5])
    assert average_precision_author(ranked, 5) == pytest.approx([2 / 5])
    empty = np.zeros((2, 0), dtype=bool)
    assert average_precision_author(empty, 5).tolist() == [0.0, 0.0]


def test_the_golden_vector_by_the_other_metrics():
    # hits at ranks 1, 3, 4 of precision 1, 2/3, 3/4
    assert average_precision_per_hit(GOLDEN, 5) == pytest.approx([(1 + 2 / 3 + 3 / 4) / 3])
    assert average_precision_per_hit(GOLDEN, 3) == pytest.approx([(1 + 2 / 3) / 2])
    assert average_precision(GOLDEN, [3]) == pytest.approx([(1 + 2 / 3 + 3 / 4) / 3])
    assert average_precision(GOLDEN, [4]) == pytest.approx([(1 + 2 / 3 + 3 / 4) / 4])
    assert r_precision(GOLDEN, [3]) == pytest.approx([2 / 3])
    assert reciprocal_rank(GOLDEN[:, 1:], [2]) == pytest.approx([1 / 2])


def test_queries_without_a_hit_do_not_shift_those_of_others():
    ranked = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]], dtype=bool)
    relevant = [0, 1, 1, 2, 0]
    ours = reciprocal_rank(ranked, relevant), average_precision(ranked, relevant)
    assert ours[0] == pytest.approx([np.nan, 0.5, 0, 1, np.nan], nan_ok=True)
    assert ours[1] == pytest.approx([np.nan, 0.5, 0, (1 + 2 / 3) / 2, np.nan], nan_ok=True)


def test_average_precision_is_that_of_scikit_learn_also_for_negative_similarities():
    generator = np.random.default_rng(3)
    for _ in range(20):
        similarity = -generator.random(30)
        relevant = generator.random(30) < 0.3
        relevant[7] = True
        ranked = relevant[np.argsort(-similarity)][None]
        theirs = pytest.approx([average_precision_score(relevant, similarity)])
        assert average_precision(ranked, [relevant.sum()]) == theirs
        assert average_precision_author(ranked, 30) * 30 / relevant.sum() == theirs


def test_ndcg_is_that_of_scikit_learn():
    generator = np.random.default_rng(4)
    for k in (1, 3, 30, 40):
        gains, similarity = generator.integers(0, 5, 30) / 4, generator.normal(size=30)
        ranked = gains[np.argsort(-similarity)][None]
        ideal = np.sort(gains)[::-1][None]
        theirs = ndcg_score(gains[None], similarity[None], k=k)
        assert ndcg(ranked, ideal, k) == pytest.approx([theirs])


def test_any_hit_by_hand():
    late = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)
    assert [any_hit(late, k).tolist() for k in (1, 2, 3, 9)] == [*([0, 0, 1], [0, 0, 1]), *([1, 0, 1], [1, 0, 1])]
    assert any_hit(np.zeros((2, 0), dtype=bool), 5).tolist() == [0, 0]


def test_any_hit_matches_a_slow_loop():
    generator = np.random.default_rng(5)
    ranked = generator.random((40, 9)) < 0.15
    for k in (1, 2, 5, 9, 12):
        slow = []
        for row in ranked.tolist():
            found = 0
            for right in row[:k]:
                found = 1 if right else found
            slow.append(found)
        assert 0 < sum(slow) < 40
        assert any_hit(ranked, k).tolist() == slow


def test_ndcg_by_hand():
    best = 1 + 0.5 / np.log2(3)
    assert ndcg([[0.5, 1.0]], [[1.0, 0.5]], 2) == pytest.approx([(0.5 + 1 / np.log2(3)) / best])
    assert np.isnan(ndcg([[0.0]], [[0.0]], 1)).all()
    with pytest.raises(ValueError, match="k must be at least 1"):
        ndcg([[1.0]], [[1.0]], 0)


@pytest.mark.parametrize("k", [0, -3])
def test_a_k_below_one_is_refused(k):
    with pytest.raises(ValueError, match="k must be at least 1"):
        hit_ratio(GOLDEN, k)


def test_rankings_that_end_before_r_are_refused():
    with pytest.raises(ValueError, match="at least R = 6, got 5"):
        average_precision_at_r(GOLDEN, [6])


def test_more_relevant_than_ranked_is_refused():
    with pytest.raises(ValueError, match="relevant <= ranked"):
        expected_hit_ratio([3], [2], 1)


@given(n=st.integers(1, 6), data=st.data())
def test_chance_is_the_mean_over_all_orders(n, data):
    relevant = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, 9))
    orders = np.zeros((0, n), dtype=bool)
    for places in itertools.combinations(range(n), relevant):
        orders = np.vstack([orders, np.isin(np.arange(n), places)])
    R, N = [relevant], [n]
    assert expected_hit_ratio(R, N, k) == pytest.approx([hit_ratio(orders, k).mean()])
    assert expected_any_hit(R, N, k) == pytest.approx([any_hit(orders, k).mean()])
    ours = expected_average_precision_author(R, N, k)
    assert ours == pytest.approx([average_precision_author(orders, k).mean()])
    ours = expected_average_precision_per_hit(R, N, k)
    assert ours == pytest.approx([average_precision_per_hit(orders, k).mean()])
    if relevant:
        depth = np.full(len(orders), relevant)
        mean = average_precision_at_r(orders, depth).mean()
        assert expected_average_precision_at_r(R, N) == pytest.approx([mean])
        for expected, metric in (
            (expected_average_precision, average_precision),
            (expected_r_precision, r_precision),
            (expected_reciprocal_rank, reciprocal_rank),
        ):
            assert expected(R, N) == pytest.approx([metric(orders, depth).mean()])
    gains = data.draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=n, max_size=n))
    ranked = np.array(list(itertools.permutations(gains)))
    ideal = np.sort(ranked, axis=1)[:, ::-1]
    ours = expected_ndcg([np.mean(gains)], N, ideal[:1], k)
    assert ours == pytest.approx([ndcg(ranked, ideal, k).mean()], nan_ok=True)


def test_chance_against_an_empty_gallery_is_zero():
    assert expected_hit_ratio([0], [0], 5) == [0.0]
    assert expected_any_hit([0], [0], 5) == [0.0]
    assert expected_average_precision_author([0], [0], 5) == [0.0]
    assert expected_average_precision_per_hit([0], [0], 5) == [0.0]
    for expected in (expected_average_precision, expected_r_precision, expected_reciprocal_rank):
        assert np.isnan(expected([0], [0])).all()


def test_chance_of_any_hit_is_exact_for_large_galleries():
    R = [0, 1, 3, 40_000, 90_000, 999_990, 999_991, 1_000_000]
    N = [1_000_000] * len(R)
    for k in (1, 10, 5_000):
        exact = [1 - Fraction(math.comb(n - r, k), math.comb(n, k)) for r, n in zip(R, N, strict=True)]
        ours = expected_any_hit(R, N, k)
        assert ours == pytest.approx([float(each) for each in exact], rel=1e-12, abs=0)
    assert expected_any_hit([1], [10**12], 10) == pytest.approx([1e-11], rel=1e-12, abs=0)
    assert not np.signbit(expected_any_hit([0, 0], [0, 7], 3)).any()  # "-0.000" in a table


def test_chance_of_the_published_split():
    # docs/explanation/methods.md, section 1: gallery and query counts of grades 0 to 4, chance mHR and mAP@5/10/20/50.
    gallery, query = [20604, 1958, 4257, 690, 577], [5198, 480, 1031, 182, 131]
    total = [sum(gallery)] * 5

    def micro(values):
        return np.average(values, weights=query)

    assert micro(expected_hit_ratio(gallery, total, 10)) == pytest.approx(0.5711, abs=5e-5)
    for k, published in ((5, 0.4793), (10, 0.4516), (20, 0.4325), (50, 0.4173)):
        ours = micro(expected_average_precision_author(gallery, total, k))
        assert ours == pytest.approx(published, abs=6e-5)
