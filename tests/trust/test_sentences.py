"""Trust in words, each sentence by hand."""

from dataclasses import replace

import pytest

from foveola.records import Case
from foveola.relevance.calibrate import LabelShare, Share, Suggestion
from foveola.trust.calibration import HitTrust, Looks, QueryTrust
from foveola.trust.sentences import (
    of_doubt,
    of_hit,
    of_order,
    of_quality,
    of_query,
    of_recorded,
    of_suggestion,
    unrecorded,
)

HIT = HitTrust(label="grade", same=0.9, other=0.99, agreement=Share(0.824, 0.744, 0.885), sufficient=True)


def suggestion(*values, label="grade", several=False, new=True):
    """Of pairs of a value and how many of 100 have it, give or take 8."""
    shares = [LabelShare(value, Share(n / 100, max(0, n - 8) / 100, (n + 8) / 100)) for value, n in values]
    return Suggestion(label, tuple(shares), several, 300, new)


SURE = suggestion(("2", 55), ("3", 25), ("0", 16), ("4", 4))
QUERY = QueryTrust(
    suggestion=SURE, nearest=0.63, threshold=0.94, false_reject=0.01, sufficient=True, looks=Looks(0.5, foreign=False)
)
REFUSED = replace(QUERY, suggestion=None, sufficient=False)


def test_a_hit():
    assert of_hit(HIT) == "same grade in 82 % (74 to 88)"
    assert of_hit(replace(HIT, sufficient=False)) == "not sufficiently alike"
    assert of_hit(replace(HIT, agreement=None)) is None
    assert of_hit(None) is None


def test_an_answer_begins_with_what_the_archive_suggests():
    assert of_query(QUERY) == [
        "Of 100 photographs like this, 55 (47 to 63) have moderate NPDR, 25 (17 to 33) have severe "
        "NPDR, 16 (8 to 24) have no DR.",
        "The nearest case is more alike than that of 63 % of the archive's own photographs.",
    ]
    assert of_query(None) == []


def test_an_answer_from_afar_says_so_first():
    first, *_ = of_query(replace(REFUSED, nearest=0.0))
    assert first == (
        "No sufficiently similar case: no hit is as alike as the nearest case of 99 % of the "
        "archive's own photographs (0.940)."
    )


def test_where_only_the_condition_leaves_far_cases_that_is_said():
    said = of_query(replace(QUERY, sufficient=False, nearest=0.0))
    assert said[0].startswith("Of 100 photographs like this, ")
    assert said[1].startswith("No sufficiently similar case among those that meet the condition: ")


def test_findings_are_named():
    found = suggestion(("N", 70), ("D", 12), ("O", 9), ("G", 4), label="findings", several=True)
    assert of_query(replace(QUERY, suggestion=found))[0] == (
        "Of 100 photographs like this, 70 (62 to 78) are normal, 12 (4 to 20) have diabetes, "
        "9 (1 to 17) have another finding."
    )
    rare = suggestion(("G", 4), ("A", 1), label="findings", several=True)
    assert of_query(replace(QUERY, suggestion=rare))[0] == (
        "Of 100 photographs like this, fewer than 5 have any one of the findings learnt."
    )


def test_another_column_is_named_with_its_value():
    found = suggestion(("healed", 90), ("worse", 10), label="outcome")
    assert of_query(replace(QUERY, suggestion=found))[0] == (
        "Of 100 photographs like this, 90 (82 to 98) have outcome healed, 10 (2 to 18) have outcome worse."
    )


def graded(*grades):
    return [Case(image="a", path="/a", grade=grade) for grade in grades]


@pytest.mark.parametrize(
    ("values", "cases", "said"),
    [
        (
            (("1", 45), ("2", 40), ("3", 15)),
            (1, 2, 1),
            "Two grades are nearly equally likely; the first hits show both.",
        ),
        ((("1", 45), ("2", 40), ("3", 15)), (1, 1, 3, None), "Two grades are nearly equally likely."),
        ((("1", 50), ("2", 40), ("3", 10)), (1, 2), "Two grades are nearly equally likely; the first hits show both."),
        (
            (("1", 36), ("2", 34), ("3", 30)),
            (3, 2, 1),
            "Three grades are nearly equally likely; the first hits show all three.",
        ),
    ],
)
def test_two_likely_grades_are_said_to_be_so(values, cases, said):
    assert of_query(replace(QUERY, suggestion=suggestion(*values)), graded(*cases))[1] == said


def test_one_likely_grade_and_two_findings_are_no_such_case():
    less = suggestion(("1", 50), ("2", 34), ("3", 16))
    findings = suggestion(("D", 50), ("H", 50), label="findings", several=True)
    for each in (less, findings):
        said = of_query(replace(QUERY, suggestion=each), graded(1, 2))
        assert not any("nearly equally" in line for line in said)


def test_what_was_learnt_from_photographs_of_the_encoders_training_says_so():
    said = of_query(replace(QUERY, suggestion=replace(SURE, new=False)))
    assert said[1] == (
        "These numbers were learnt from photographs that the encoder was trained on: a new "
        "photograph is told less surely than they say."
    )


def test_the_order_is_named():
    assert of_order("learned", "grade") == "by the archive's labels (grade), looks second"
    assert of_order("both", "findings") == "by labels (findings) and looks in equal parts"
    assert of_order("looks", "grade") == of_order("looks", None) == "by looks"
    assert of_recorded("grade", 9, 12) == "grade is recorded for 9 of 12 hits"
    assert of_recorded("findings", 0, 2) == "findings are recorded for 0 of 2 hits"
    assert of_recorded(None, None, 2) is of_recorded("grade", 0, 0) is None


def test_a_hit_without_a_label_is_told_from_one_without_findings():
    bare = Case(image="a", path="/a", findings=frozenset(), extra={"outcome": "healed"})
    assert unrecorded(bare, "grade")
    assert not unrecorded(bare, "findings")
    assert not unrecorded(bare, "outcome")
    assert not unrecorded(bare, None)


def test_a_foreign_picture_is_named_first_and_nothing_is_near():
    said = of_query(replace(REFUSED, looks=Looks(1.0, foreign=True)))
    assert said[0] == ("No sufficiently similar case: this does not look like a colour photograph of the retina.")
    assert not any("archive's own" in line for line in said)


def test_a_poor_picture_is_not_compared():
    said = of_query(replace(REFUSED, looks=Looks(0.5, foreign=False, poor=True)))
    assert said[0] == "No sufficiently similar case: this shows too little of the retina."


def test_an_unusual_picture_is_a_warning():
    said = of_quality(Looks(0.995, foreign=False), 0.9)
    assert said.startswith("The photograph is unlike the photographs that the encoder knows")
    assert of_doubt(Looks(0.985, foreign=False), 0.9) is None
    assert of_doubt(Looks(0.995, foreign=True), 0.9) is None  # worse is said already


def test_a_camera_that_the_archive_does_not_know_is_named():
    said = of_query(replace(QUERY, looks=Looks(0.5, foreign=False, camera="Topcon TRC-NW8")))
    (line,) = [line for line in said if line not in of_query(QUERY)]
    assert "no photograph of this camera (Topcon TRC-NW8)" in line


def test_of_an_archive_too_small_to_judge_nothing_is_said():
    bare = replace(QUERY, suggestion=None, nearest=None, threshold=None)
    assert of_query(bare) == []


def test_an_archive_that_the_encoder_was_trained_on_says_so():
    bare = replace(QUERY, suggestion=None)
    said = of_query(replace(bare, trained=0.834))
    assert said[1] == (
        "The encoder was trained on 83 % of the archive's photographs, and how far to trust a hit "
        "was learnt from these: a new photograph's labels agree less often than is said."
    )
    assert of_query(replace(bare, trained=0.04)) == of_query(bare)
    assert of_query(replace(QUERY, trained=0.834)) == of_query(QUERY)  # it says so of itself
    foreign = replace(REFUSED, looks=Looks(1.0, foreign=True))
    assert of_query(replace(foreign, trained=0.9)) == of_query(foreign)


def test_what_the_hits_or_the_numbers_leave_out_is_said():
    said = of_suggestion(suggestion(("0", 65), ("2", 29)), graded(2, 2, None))
    assert said[1:] == [
        "No hit has the grade named first. Hits by labels are ordered as if all were equally "
        "common, so that rare ones are found, too."
    ]
    assert of_suggestion(suggestion(("0", 65), ("2", 29)), graded(2, 0)) == said[:1]
    few = replace(suggestion(("0", 65), ("2", 29)), unlearnt=("1", "4"))
    assert of_suggestion(few, graded(0))[1:] == ["Not counted, as too few people have it: mild NPDR, PDR."]
    many = replace(few, label="outcome", unlearnt=tuple("abcdefg"))
    assert of_suggestion(many)[-1].endswith("a, b, c, d, e and 2 more.")
