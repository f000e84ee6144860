"""Targets and the spread of the first hits: by hand, and what must always hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foveola.relevance.calibrate import Calibrated, Scaling
from foveola.relevance.labels import LabelTable
from foveola.relevance.order import (
    FIRST,
    NEARLY,
    NEIGHBOUR,
    ORDERS,
    OWN,
    SHARES,
    Asked,
    codes_in,
    neighbours,
    scores_of,
    shared,
    spread,
    targets_of,
    wanted_of,
)
from relevance.made import slow_spread

GRADES = ("0", "1", "2", "3", "4")
PLAIN = Scaling(np.ones(5), np.zeros(5))


def grades(*recorded):
    table = LabelTable.of("grade", [None if g is None else {g} for g in recorded])
    return table.of_values(GRADES)


def probabilities(rows, values):
    return arrays(float, (rows, values), elements=st.floats(1e-6, 1)).map(lambda p: p / p.sum(axis=1, keepdims=True))


# What is wanted


def calibrated(values):
    scaling = Scaling(np.ones(values), np.zeros(values))
    return Calibrated(scaling, scaling, None, people=9)


def test_wanted_of_one_value_a_case_are_its_probabilities():
    wanted = wanted_of(calibrated(2), np.array([[np.log(3.0), 0]]), "softmax")
    assert wanted[0] == pytest.approx([0.75, 0.25])


def test_wanted_of_findings_by_hand():
    """Probabilities .8 and .2; that there is none of them is at most .2."""
    logits = np.log([[4.0, 0.25]])
    wanted = wanted_of(calibrated(2), logits, "sigmoid")[0]
    assert wanted == pytest.approx(np.sqrt([0.8 / 1.2, 0.2 / 1.2, 0.2 / 1.2]))


@given(arrays(float, (3, 4), elements=st.floats(-1e4, 1e4)))
def test_wanted_of_findings_have_length_1_however_far_the_logits_are(logits):
    wanted = wanted_of(calibrated(4), logits, "sigmoid")
    assert np.linalg.norm(wanted, axis=1) == pytest.approx(1)


@pytest.mark.parametrize("finding_first", [True, False])
def test_a_query_without_a_finding_asks_for_cases_without_one(finding_first):
    """Of one finding alone too: it is not asked for by those who hardly have it."""
    table = LabelTable.of("findings", [{"D"}, set(), None])
    targets = targets_of(table, np.array([[0.9], [0.05], [0.5]]))
    logits = np.array([[3.0 if finding_first else -3.0]])
    agreement = targets @ wanted_of(calibrated(1), logits, "sigmoid")[0]
    order = np.argsort(-agreement).tolist()
    assert order == ([0, 2, 1] if finding_first else [1, 2, 0])


# What cases count for


def test_neighbours_by_hand():
    assert neighbours(("0", "1", "3")).tolist() == [[1, NEIGHBOUR, 0], [NEIGHBOUR, 1, 0], [0, 0, 1]]
    assert neighbours(("0", "4")).tolist() == np.eye(2).tolist()


def test_targets_of_grades_by_hand():
    said = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0.5, 0.5]])
    first, unlabelled = targets_of(grades("2", None), said, own=0.75)
    assert first == pytest.approx([0, NEIGHBOUR, 1, NEIGHBOUR, 0])
    a, b = 0.75 * 0.5, 0.75 * 0.5 * (1 + NEIGHBOUR)
    assert unlabelled == pytest.approx([0, 0, a * NEIGHBOUR, b, b])


def test_a_wrong_label_is_mended_by_what_other_cases_say():
    said = np.array([[0, 0, 0, 0, 1.0]])
    assert targets_of(grades("0"), said, own=0.75)[0] == pytest.approx(
        [0.75, 0.75 * NEIGHBOUR, 0, 0.25 * NEIGHBOUR, 0.25]
    )


def test_targets_of_a_column_have_no_neighbours():
    table = LabelTable.of("dme", [{"1"}, {"2"}])
    said = np.array([[0.5, 0.5], [0.5, 0.5]])
    targets = targets_of(table, said, own=0.5)
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_targets_of_findings_by_hand():
    table = LabelTable.of("findings", [{"A"}, {"A", "B"}, set(), None])
    said = np.zeros((4, 2))
    said[3] = 1
    targets = targets_of(table, said, own=1.0)
    half = 0.5**0.5
    assert targets == pytest.approx(np.array([[1, 0, 0], [half, half, 0], [0, 0, 1], [half, half, 0]]))


@given(arrays(float, (1, 4), elements=st.floats(0, 1)))
def test_a_likely_set_of_findings_is_at_most_what_is_expected_of_the_sets_it_may_be(p):
    """Against every set there is, by its probability."""
    expected = np.zeros(5)
    for number in range(16):
        has = np.array([number >> k & 1 for k in range(4)], bool)
        chance = np.prod(np.where(has, p[0], 1 - p[0]))
        expected += chance * (np.append(has, False) / np.sqrt(has.sum()) if has.any() else np.eye(5)[4])
    (made,) = shared(p)
    assert (made <= expected + 1e-12).all()
    assert made == pytest.approx(expected, abs=0.1)


@given(probabilities(3, 5))
def test_recorded_is_never_behind_what_is_only_predicted(p):
    """For any probabilities of query and cases: of the value that agrees most."""
    wanted, *said = p
    for label, values in (("grade", GRADES), ("dme", GRADES)):
        agreeing = neighbours(values) @ wanted if label == "grade" else wanted
        best = str(int(agreeing.argmax()))
        table = LabelTable.of(label, [{best}, None]).of_values(values)
        recorded, predicted = targets_of(table, np.array(said)) @ wanted
        assert recorded >= predicted - 1e-6


@given(probabilities(2, 5))
def test_of_two_cases_that_look_alike_the_one_that_is_recorded_comes_first(p):
    wanted, said = p
    best = str(int((neighbours(GRADES) @ wanted).argmax()))
    recorded, predicted = targets_of(grades(best, None), np.array([said, said])) @ wanted
    assert recorded >= predicted - 1e-6


@given(arrays(float, (3, 3), elements=st.floats(0, 1)))
def test_recorded_findings_are_never_behind_what_is_only_predicted(p):
    """Of the set that agrees most, for any probabilities."""
    query, *said = p
    wanted = np.append(np.sqrt(query), np.sqrt(1 - query.max()))
    wanted /= np.linalg.norm(wanted)
    sets = [{v for v, has in zip("ABC", f"{n:03b}", strict=True) if has == "1"} for n in range(8)]
    table = LabelTable.of("findings", [*sets, None])
    targets = targets_of(table, np.array([said[0]] * 8 + [said[1]]))
    agreement = targets @ wanted
    assert agreement[:8].max() >= agreement[8] - 1e-6


@given(arrays(float, (2, 3), elements=st.floats(0, 1)))
def test_agreement_lies_within_0_and_1(p):
    query, said = p
    wanted = wanted_of(calibrated(3), 10 * query[None] - 5, "sigmoid")[0]
    table = LabelTable.of("findings", [{"A", "B"}, set(), None]).of_values(("A", "B", "C"))
    agreement = targets_of(table, np.array([said] * 3)) @ wanted
    assert agreement.min() >= 0
    assert agreement.max() <= 1 + 1e-6


def test_orders_and_their_shares():
    assert set(SHARES) == set(ORDERS)
    assert SHARES["looks"] == 0
    assert 0 < SHARES["both"] < SHARES["learned"] <= 1
    assert 0 < OWN <= 1


# Codes


def test_codes_are_the_recorded_values():
    assert codes_in(grades("3", None, "0")).tolist() == [3, -1, 0]
    assert codes_in(LabelTable.of("findings", [{"A"}, None])).tolist() == [-1, -1]


def test_rivals_are_the_values_that_cases_have():
    def rivals(*codes):
        asked = Asked(np.ones(3) / 3, np.zeros((len(codes), 3), np.float32), np.array(codes, int), 0.9)
        return asked.rivals().tolist()

    assert rivals(0, 2, -1, 2) == [0, 2]
    assert rivals(1, 1, -1) == []
    assert rivals(-1, -1) == []
    assert rivals() == []


# The first hits


def shown(odds, each=20, share=0.9, count=FIRST, cosine=0.8):
    """The recorded values of the first hits, where each value has many cases."""
    codes = np.repeat(np.arange(len(odds)), each)
    agreements = np.array(odds)[codes]
    cosines = np.full(len(codes), cosine)
    order = np.argsort(-agreements, kind="stable")
    chosen = order[spread(cosines[order], agreements[order], codes[order], share, count)]
    return codes[chosen].tolist()


def test_two_values_nearly_as_likely_share_the_first_hits():
    first = shown([0.45, 0.40, 0.15])
    assert first[0] == 0
    assert 1 <= first.count(1) <= 4
    assert 2 not in first


def test_a_sure_answer_is_not_spread():
    assert set(shown([0.8, 0.1, 0.1])) == {0}


def test_equal_odds_take_turns():
    assert shown([0.4, 0.4]) == [0, 1] * (FIRST // 2)


def test_it_is_the_formula_of_a_slow_loop():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(1, 40))
        codes = rng.integers(-1, 3, n)
        cosines, agreements = rng.random(n), rng.random(n)
        score = scores_of(cosines, agreements, 0.6).astype(float)
        order = np.lexsort((np.arange(n), -score))
        cosines, agreements, codes, score = (each[order] for each in (cosines, agreements, codes, score))
        expected = slow_spread(score, agreements, codes, 0.6, 9)
        assert spread(cosines, agreements, codes, 0.6, 9).tolist() == expected


@given(st.integers(0, 1000), st.integers(1, 30))
def test_fewer_hits_are_the_first_of_more(seed, count):
    rng = np.random.default_rng(seed)
    n = 25
    codes = rng.integers(-1, 4, n)
    agreements, cosines = rng.integers(0, 4, n) / 4, rng.integers(0, 3, n) / 4
    order = np.lexsort((np.arange(n), -scores_of(cosines, agreements, 0.9)))
    given_ = (cosines[order], agreements[order], codes[order], 0.9)
    whole = spread(*given_, n)
    assert sorted(whole.tolist()) == list(range(n))
    assert spread(*given_, count).tolist() == whole[:count].tolist()
    for value in range(4):  # cases of one value keep their order
        of = whole[codes[order][whole] == value]
        assert (np.diff(of) > 0).all()


def test_equal_cases_come_in_the_order_given():
    same = np.full(6, 0.5)
    assert spread(same, same, np.full(6, 2), 0.9, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert spread(same, same, np.full(6, -1), 0.9, 4).tolist() == [0, 1, 2, 3]


def test_a_case_without_a_label_does_not_gain():
    """It would overtake the fading ones of the likeliest value."""
    codes = np.array([0] * 10 + [-1] * 5)
    agreements = np.array([0.9] * 10 + [0.8] * 5)
    assert spread(np.zeros(15), agreements, codes, 0.9, 12).tolist() == list(range(12))


def test_nothing_to_choose_from():
    none = np.empty(0)
    assert spread(none, none, np.empty(0, np.int64), 0.9, 12).tolist() == []


def test_a_value_told_to_be_nearly_as_likely_is_wanted_nearly_as_much():
    """By even odds the second is hardly wanted, as it is common; the sentence names it first."""
    even = Scaling(np.ones(2), np.zeros(2))
    told = Calibrated(even, Scaling(np.ones(2), np.array([0.0, 2.0])), None, 9)
    logits = np.array([[2.0, 0.1]])  # even odds of 87 to 13; natural ones of 47 to 53
    (wanted,) = wanted_of(told, logits, "softmax")
    assert wanted[1] / wanted[0] == pytest.approx(NEARLY)
    assert wanted.sum() == pytest.approx(1)
    sure = np.array([[4.0, 0.1]])  # natural odds of 87 to 13
    np.testing.assert_allclose(wanted_of(told, sure, "softmax"), even.probabilities(sure, "softmax"))
