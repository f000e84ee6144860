"""What is said of hits by what an archive suggests; each share by hand."""

from dataclasses import replace

import pytest

from foveola.records import Case
from foveola.relevance.calibrate import LabelShare, Share, Suggestion
from foveola.trust import Calibration, Looks, judge_answer, judge_hit

RETINA = Looks(unlike=0.5, foreign=False)
GRADE = Suggestion(
    "grade",
    (LabelShare("2", Share(0.55, 0.46, 0.63)), LabelShare("0", Share(0.45, 0.4, 0.5))),
    several=False,
    people=100,
    new=True,
)
FINDINGS = Suggestion(
    "findings",
    (LabelShare("D", Share(0.5, 0.4, 0.6)), LabelShare("G", Share(0.2, 0.1, 0.3))),
    several=True,
    people=100,
    new=True,
)
DME = Suggestion("dme", (LabelShare("1", Share(0.3, 0.2, 0.4)),), False, 50, True)


def hit(suggestion, looks=RETINA, nearest=0.9, **record):
    answer = judge_answer(None, looks, nearest, suggestion)
    return judge_hit(None, answer, 0.9, Case(image="h", path="/h", **record))


def close(share, *values):
    return (share.value, share.low, share.high) == pytest.approx(values)


def test_of_a_grade_it_is_the_share_of_that_grade():
    judged = hit(GRADE, grade=2)
    assert judged.label == "grade"
    assert close(judged.agreement, 0.55, 0.46, 0.63)
    assert close(hit(GRADE, grade=0).agreement, 0.45, 0.4, 0.5)


def test_of_a_grade_that_was_not_learnt_or_is_unknown_there_is_none():
    assert hit(GRADE, grade=4).agreement is None
    assert hit(GRADE).agreement is None
    assert hit(GRADE).label == "grade"


def test_of_findings_it_is_the_chance_that_one_is_shared():
    """Independent: 1 - .5 * .8, and likewise for both ends."""
    judged = hit(FINDINGS, findings=frozenset("DG"))
    assert close(judged.agreement, 1 - 0.5 * 0.8, 1 - 0.6 * 0.9, 1 - 0.4 * 0.7)
    assert close(hit(FINDINGS, findings=frozenset("G")).agreement, 0.2, 0.1, 0.3)


def test_of_findings_of_which_one_was_not_learnt_nothing_is_said():
    assert hit(FINDINGS, findings=frozenset("DX")).agreement is None
    assert hit(FINDINGS, findings=frozenset()).agreement is None
    assert hit(FINDINGS).agreement is None


@pytest.mark.parametrize("value", ["1", 1])
def test_of_a_column_it_is_the_share_of_its_value_as_text(value):
    assert close(hit(DME, extra={"dme": value}).agreement, 0.3, 0.2, 0.4)
    assert hit(DME, extra={"dme": 2}).agreement is None
    assert hit(DME).agreement is None


def test_shares_of_pairs_are_told_of_the_label_they_were_compared_by_alone():
    known = Calibration(
        fingerprint="f",
        cases=9,
        people=9,
        label="grade",
        nearest=(0.5, 0.9),
        same=(0.0, 0.8),
        other=(0.0, 0.4),
        curves={},
    )
    case = Case(image="h", path="/h", grade=2, findings=frozenset("D"))

    def judged(suggestion):
        return judge_hit(known, judge_answer(known, RETINA, 0.9, suggestion), 0.4, case)

    assert (judged(GRADE).same, judged(GRADE).other) == (0.5, 1.0)
    of_findings = judged(FINDINGS)
    assert (of_findings.label, of_findings.same, of_findings.other) == ("findings", None, None)
    assert not of_findings.sufficient  # this one; the nearest is
    assert close(of_findings.agreement, 0.5, 0.4, 0.6)


def test_where_nothing_is_known_nothing_is_said():
    assert hit(None, grade=2) is None


@pytest.mark.parametrize("looks", [Looks(1.0, foreign=True), Looks(0.5, foreign=False, poor=True)])
def test_a_picture_that_cannot_be_compared_has_no_suggestion(looks):
    answer = judge_answer(None, looks, 0.9, GRADE, 0.99)
    assert answer.suggestion is None
    assert not answer.sufficient
    assert hit(GRADE, looks=looks, grade=2) is None


def test_without_a_case_nothing_is_sufficient_and_elsewhere_it_may_be():
    answer = judge_answer(None, RETINA, None, GRADE)
    assert (answer.sufficient, answer.suggestion) == (False, None)
    answer = judge_answer(None, RETINA, None, GRADE, 0.9)
    assert (answer.sufficient, answer.suggestion) == (False, GRADE)


def test_a_share_of_every_value_is_one():
    whole = replace(GRADE, shares=(*GRADE.shares,))
    assert whole.of(frozenset({"2"})).value + whole.of(frozenset({"0"})).value == 1
