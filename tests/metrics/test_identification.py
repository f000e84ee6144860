"""Finding identities again: by hand, by a slow loop, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from foveola.errors import FoveolaError
from foveola.metrics import metrics
from foveola.metrics.identification import METRICS, Best, IdentityData, identify, reject, threshold_for
from foveola.metrics.verification import Pairs, verify


def test_the_papers_cmc_by_hand():
    # Mates at ranks 1, 2 and 5: their ranks less their numbers are 0, 0 and 2.
    ranked = [[1, 1, 0, 0, 1, 0]]
    assert metrics.cumulative_match(ranked, [3], 1)[0] == pytest.approx(2 / 3)
    assert metrics.cumulative_match(ranked, [3], 2)[0] == pytest.approx(2 / 3)
    assert metrics.cumulative_match(ranked, [3], 3)[0] == 1
    assert metrics.found_within(ranked, [3], 1)[0] == 1
    # mates at 2 and 3: each has one stranger ahead, so CMC@1 is 0 and CMC@2 is 1
    ranked = [[0, 1, 1]]
    assert metrics.cumulative_match(ranked, [2], 1)[0] == 0
    assert metrics.cumulative_match(ranked, [2], 2)[0] == 1
    assert metrics.found_within(ranked, [2], 1)[0] == 0
    assert metrics.found_within(ranked, [2], 2)[0] == 1
    assert np.isnan(metrics.cumulative_match([[0, 0]], [0], 1)[0])
    with pytest.raises(ValueError, match="k must be at least 1"):
        metrics.cumulative_match([[1]], [1], 0)


def slow_cmc(relevance, k):
    """The authors' loop (docs/explanation/methods.md, 2.8), ranks from 0."""
    ranks = [i for i, hit in enumerate(relevance) if hit]
    return np.mean([ranks[j] - j <= k - 1 for j in range(len(ranks))])


def test_the_papers_cmc_against_its_loop():
    rng = np.random.default_rng(0)
    ranked = rng.random((40, 30)) < 0.2
    ranked[:, 3] = True
    for k in (1, 2, 5, 30):
        got = metrics.cumulative_match(ranked, ranked.sum(axis=1), k)
        assert got == pytest.approx([slow_cmc(row, k) for row in ranked])


def people(count=30, images=3, noise=0.6, seed=0):
    """Descriptors of identities on random directions, and whose they are."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(count, 16)), images, axis=0)
    rows = centres + noise * rng.normal(size=centres.shape)
    return rows.astype(np.float32), np.repeat(np.arange(count), images).tolist()


def test_each_metric_against_a_slow_loop():
    rows, whose = people()
    first = list(range(0, 90, 3))
    later = [i for i in range(90) if i % 3]
    got = identify(
        IdentityData(rows[later], [whose[i] for i in later]),
        IdentityData(rows[first], [whose[i] for i in first]),
        bootstrap=0,
    )
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rank1, ap = [], []
    for i in later:
        cosines = unit[first] @ unit[i]
        right = np.array([whose[j] == whose[i] for j in first])
        rank1.append(right[cosines.argmax()])
        ap.append(average_precision_score(right, cosines))
    assert got.metrics["rank-1"].value.micro == pytest.approx(np.mean(rank1))
    assert got.metrics["mAP"].value.micro == pytest.approx(np.mean(ap))
    assert got.queries == 60
    assert got.gallery == 30
    assert got.without_mate == 0


def test_verification_in_an_archive_is_scikit_learns():
    rows, whose = people(noise=1.2)
    got = identify(IdentityData(rows, whose), bootstrap=0).verification
    unit = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    cosines, same = unit @ unit.T, np.equal.outer(whose, whose)
    off = ~np.eye(len(rows), dtype=bool)
    assert got.genuine == 30 * 3 * 2
    assert got.impostor == 90 * 87
    assert got.auc.value == pytest.approx(roc_auc_score(same[off], cosines[off]), abs=1e-4)
    fmr, tpr, _ = roc_curve(same[off], cosines[off], drop_intermediate=False)
    fnmr = 1 - tpr
    at = np.argmin(np.abs(fmr - fnmr))
    assert got.eer.value == pytest.approx((fmr[at] + fnmr[at]) / 2, abs=5e-3)
    for rate in (1e-2, 1e-3):
        assert got.fnmr[rate].value == pytest.approx(fnmr[fmr <= rate].min(), abs=0.012)
    assert np.isnan(got.fnmr[1e-4].value)  # 0.8 pairs of 7,830 could be matched falsely


def test_verification_by_hand():
    # genuine .9 .8 .3, impostor .5 .4 .2 .1: of 12 pairs of pairs, .3 loses to two
    pairs = Pairs.from_scores([0.9, 0.8, 0.3], [0.5, 0.4, 0.2, 0.1])
    got = verify(pairs, false_matches=(0.5, 0.75, 0.9), bootstrap=0)
    assert got.auc.value == pytest.approx(10 / 12)
    # from the top: FMR 0 0 1/4 2/4 2/4, FNMR 2/3 1/3 1/3 1/3 0. They cross between .5 and .4,
    # at FMR = 1/3
    assert got.eer.value == pytest.approx(1 / 3)
    assert np.isnan(got.fnmr[0.5].value)  # 0.5 * 4 pairs is fewer than 3
    assert got.fnmr[0.75].value == 0
    with pytest.raises(ValueError, match="at least one genuine and one impostor"):
        verify(Pairs(np.zeros((1, 1), int), np.ones((1, 1), int), np.zeros(1)))
    with pytest.raises(ValueError, match="finite"):
        Pairs.from_scores([np.nan], [0.0])


def test_a_rate_that_is_met_exactly_counts_as_not_above():
    # at .65 both genuine pairs are matched and 3 of 10 impostors, at .7 one genuine pair
    pairs = Pairs.from_scores([0.75, 0.65], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    got = verify(pairs, false_matches=(0.3, 0.39, 0.4, 0.29), bootstrap=0)
    told = {rate: value.value for rate, value in got.fnmr.items()}
    assert told[0.3] == told[0.39] == told[0.4] == 0  # 3 pairs of 10 are enough to be told
    assert np.isnan(told[0.29])  # 2.9 are not
    more = Pairs.from_scores([0.75, 0.65, 0.55], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    got = verify(more, false_matches=(0.3, 0.4), bootstrap=0)
    assert [got.fnmr[rate].value for rate in (0.3, 0.4)] == pytest.approx([1 / 3, 0])
    for rate in (0.0, 1.0):
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            verify(pairs, false_matches=(rate,))


def test_ties_count_half():
    got = verify(Pairs.from_scores([0.5, 0.5], [0.5, 0.5]), bootstrap=0)
    assert got.auc.value == pytest.approx(0.5)
    assert got.eer.value == pytest.approx(0.5)


def test_perfect_and_hopeless_similarity():
    perfect = verify(Pairs.from_scores([0.9] * 4, [0.1] * 9), bootstrap=0)
    assert (perfect.auc.value, perfect.eer.value) == (1, 0)
    assert 0.1 < perfect.threshold <= 0.9
    hopeless = verify(Pairs.from_scores([0.1] * 4, [0.9] * 9), bootstrap=0)
    assert (hopeless.auc.value, hopeless.eer.value) == (0, 1)


def test_intervals_resample_subjects_not_pairs():
    # ten subjects with 50 pairs each, all alike: as sure as ten pairs, not as 500
    rng = np.random.default_rng(2)
    own = rng.normal(0.5, 0.3, 10)
    genuine, who = np.repeat(own, 50), np.repeat(np.arange(10), 50)
    impostor, asked = rng.normal(0, 0.3, 1000), np.repeat(np.arange(10), 100)
    clustered = verify(Pairs.from_scores(genuine, impostor, who, asked))
    naive = verify(Pairs.from_scores(genuine, impostor))
    width = [x.auc.high - x.auc.low for x in (clustered, naive)]
    assert width[0] > 3 * width[1]
    assert clustered.auc.value == pytest.approx(naive.auc.value)
    assert clustered.auc.low < clustered.auc.value < clustered.auc.high


def test_the_same_image_is_never_its_own_mate_and_visits_are_left_out():
    rows, whose = people(count=4, images=2, noise=0.01)
    alone = identify(IdentityData(rows, whose), bootstrap=0)
    assert alone.metrics["rank-1"].value.micro == 1
    visits = ["a", "a"] * 4  # both images of a subject on one day: no mate is left
    with pytest.raises(FoveolaError, match="none of the 8 queries has another image"):
        identify(IdentityData(rows, whose, visits=visits), bootstrap=0)
    other = identify(IdentityData(rows, whose, visits=["a", "b"] * 4), bootstrap=0)
    assert other.metrics["rank-1"].value.micro == 1


def test_other_people_of_the_same_visit_are_ranked():
    # two visits on which everyone came: only the query's own images of that visit are left out
    rows, whose = people(count=4, images=2, noise=0.01)
    got = identify(IdentityData(rows, whose, visits=["a", "b"] * 4), bootstrap=0)
    assert got.verification.impostor == 8 * 6
    assert got.verification.genuine == 8
    twin = rows.copy()
    twin[2] = rows[0]  # somebody else of the same visit looks the same
    got = identify(IdentityData(twin, whose, visits=["a", "b"] * 4), bootstrap=0)
    assert not got.best.right[0]
    assert got.best.impostor[0] == pytest.approx(1)


@pytest.mark.parametrize("visits", [None, ["a", "a", "b"] * 10])
def test_the_best_impostor_is_another_person(visits):
    rows, whose = people(noise=1.0)
    visits = visits and visits * 3
    got = identify(IdentityData(rows, whose, visits=visits), bootstrap=0)
    unit = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    cosines = np.where(np.equal.outer(whose, whose), -np.inf, unit @ unit.T)
    assert got.best.impostor == pytest.approx(cosines.max(axis=1))
    assert got.best.impostor.max() < 1  # and never the query itself


def test_groups_split_the_metrics():
    rows, whose = people(count=6, images=2, noise=0.01)
    rows[1] = -rows[0]  # the later image of the first is as unlike as can be
    asked = IdentityData(rows[1::2], whose[1::2])
    ranked = IdentityData(rows[::2], whose[::2])
    groups = ["1 y", "2 y", None, "2 y", "1 y", "1 y"]
    got = identify(asked, ranked, groups=groups, bootstrap=50).metrics["rank-1"]
    assert got.value.micro == pytest.approx(5 / 6)
    assert got.value.per_label == pytest.approx({"1 y": 2 / 3, "2 y": 1.0})
    assert got.queries == {"1 y": 3, "2 y": 2}
    with pytest.raises(ValueError, match="expected 6 groups, got 1"):
        identify(asked, ranked, groups=["x"])


def test_a_query_without_a_mate_is_counted_and_left_out():
    rows, _ = people(count=3, images=2, noise=0.01)
    asked = IdentityData(rows[1::2], [0, None, "stranger"])
    got = identify(asked, IdentityData(rows[::2], [0, None, 2]), bootstrap=0)
    assert got.without_mate == 2  # what is unknown is nobody else's, and no stranger is found
    assert got.best.mated.tolist() == [True, False, False]
    assert got.metrics["mAP"].value.micro == 1


def test_another_similarity_takes_the_place_of_the_cosine():
    rows, _ = people(count=4, images=2, noise=0.01)
    table = np.where(np.equal.outer(np.arange(8), 7 - np.arange(8)), 0.9, 0.1)
    got = identify(IdentityData(rows, [0, 1, 2, 3, 3, 2, 1, 0]), similarity=lambda part: table[part])
    assert got.metrics["rank-1"].value.micro == 1
    assert got.verification.eer.value == 0


def test_blocks_change_nothing():
    rows, whose = people(noise=1.0)
    whole, parts = (identify(IdentityData(rows, whose), bootstrap=20, block=b) for b in (None, 7))
    for name in METRICS:
        assert whole.metrics[name].to_dict("group") == parts.metrics[name].to_dict("group")
    assert whole.verification.to_dict() == parts.verification.to_dict()


def test_many_pairs_are_counted_on_a_grid_close_to_the_truth():
    rows, whose = people(count=300, images=3, noise=1.3)
    got = identify(IdentityData(rows, whose), bootstrap=0).verification
    unit = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    same, off = np.equal.outer(whose, whose), ~np.eye(len(rows), dtype=bool)
    cosines = unit @ unit.T
    of_one = [np.zeros(np.count_nonzero(kind), dtype=int) for kind in (same & off, ~same)]
    exact = verify(Pairs.from_scores(cosines[same & off], cosines[~same], *of_one), bootstrap=0)
    assert got.genuine == exact.genuine
    assert got.impostor == exact.impostor
    assert got.auc.value == pytest.approx(exact.auc.value, abs=5e-4)
    assert got.eer.value == pytest.approx(exact.eer.value, abs=5e-4)
    for rate in (1e-2, 1e-3, 1e-4):
        assert got.fnmr[rate].value == pytest.approx(exact.fnmr[rate].value, abs=5e-3)


def test_a_threshold_lets_through_what_was_asked():
    impostor = np.array([0.1, 0.9, 0.5, np.nan, 0.7])
    for rate, wanted in ((0.25, 1), (0.5, 2), (0.49, 1), (0.1, 0)):
        assert (impostor >= threshold_for(impostor, rate)).sum() == wanted
    assert np.isnan(threshold_for(np.array([np.nan]), 0.1))


def test_rejection_by_hand():
    # Two subjects, one in each fold; the threshold of one is set on the other's searches.
    best = Best(
        similarity=np.array([0.9, 0.3, 0.4, 0.2, 0.8, 0.05, 0.6, 0.7]),
        right=np.array([1, 1, 0, 1, 1, 1, 0, 1], dtype=bool),
        impostor=np.array([0.5, 0.3, 0.2, 0.1, 0.7, 0.6, 0.4, 0.35]),
        mated=np.ones(8, dtype=bool),
        subjects=np.repeat([0, 1], 4),
    )
    (got,) = reject(best, false_positives=(0.75,), bootstrap=0)
    # 3 of 4 may pass: thresholds just above the least, .1 (of subject 0) and .35
    assert sorted(got.thresholds) == pytest.approx([0.1, 0.35])
    # subject 0 is judged at .35: .5 comes in falsely, .9 rightly, and .4 is the wrong one;
    # subject 1 at .1: all four come in falsely, .8 and .7 rightly
    assert got.fpir.value == pytest.approx(5 / 8)
    assert got.tpir.value == pytest.approx(3 / 8)


def test_rejection_keeps_its_promise_on_other_people():
    rows, whose = people(count=400, images=2, noise=0.5, seed=4)
    found = identify(IdentityData(rows[1::2], whose[1::2]), IdentityData(rows[::2], whose[::2]), bootstrap=0)
    for judged in reject(found.best, false_positives=(0.05, 0.1)):
        assert judged.fpir.low < judged.wanted < judged.fpir.high
        assert judged.tpir.value > 0.2
    assert reject(found.best, false_positives=(0.001,)) == []  # 0.2 searches: nothing to set by
    with pytest.raises(ValueError, match="between 0 and 1"):
        reject(found.best, false_positives=(0.0,))
    with pytest.raises(ValueError, match="at least 2 folds, got 1"):
        reject(found.best, folds=1)
