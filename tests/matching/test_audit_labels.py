"""Labels that the cases of other people speak against."""

import numpy as np
import pytest

from foveola.matching.audit import _of_steps, _out_of_fold, doubts
from foveola.metrics.ranking import unit_rows
from foveola.records import Case


def cases_of(groups, *, subjects=None, collection="c", findings=None):
    return [
        Case(
            image=str(i),
            path=f"/{i}",
            subject=str(i if subjects is None else subjects[i]),
            grade=grade,
            collection=collection,
            findings=None if findings is None else frozenset(findings[i]),
        )
        for i, grade in enumerate(groups)
    ]


def clusters(sizes, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.eye(len(sizes), 6)
    rows = np.concatenate([np.repeat(c[None], n, axis=0) for c, n in zip(centres, sizes, strict=True)])
    return (rows + noise * rng.normal(size=rows.shape)).astype(np.float32)


def test_a_grade_among_those_of_another_is_doubted():
    rows = clusters([30, 30])
    grades = [0] * 30 + [2] * 30
    grades[4] = 2  # lies among the healthy
    (worst, *others) = doubts(rows, cases_of(grades))
    assert (worst.case, worst.value, worst.instead) == (4, "grade 2", "grade 0")
    assert worst.share == 0
    assert worst.probability < 0.2
    assert worst.score == pytest.approx(1 - 2 * worst.probability)  # no third grade there
    assert len(worst.neighbours) == 15
    assert all(n < 30 for n in worst.neighbours)
    assert not others


def test_a_neighbouring_grade_is_a_matter_of_opinion():
    rows = clusters([30, 30])
    grades = [1] * 30 + [2] * 30
    grades[4] = 2
    assert doubts(rows, cases_of(grades)) == []


def test_a_rare_grade_is_not_doubted_for_being_rare():
    rows = clusters([60, 8])
    found = doubts(rows, cases_of([0] * 60 + [4] * 8))
    assert found == []


def test_a_persons_own_photographs_do_not_vote():
    rows = clusters([30, 30, 4])  # the last four lie apart: only they could speak for themselves
    rows[60:] = clusters([30, 4])[-4:] * 0.4 + rows[:4]
    grades = [0] * 30 + [2] * 30 + [2] * 4
    subjects = [*range(60), 60, 60, 60, 60]  # four photographs of one person, alike and wrong
    found = doubts(rows, cases_of(grades, subjects=subjects))
    assert sorted(d.case for d in found) == [60, 61, 62, 63]


def test_probabilities_are_those_of_scikit_learn_on_other_people():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    x = unit_rows(rng.normal(size=(120, 5)).astype(np.float32))
    y = rng.random((120, 1)) < 0.3
    people = np.arange(120) // 2
    ours = _out_of_fold(x, y, people)[:, 0]
    for fold in range(10):
        asked = people % 10 == fold
        theirs = linear.LogisticRegression(C=1 / (1e-4 * (~asked).sum()), tol=1e-10, max_iter=9999)
        theirs.fit(x[~asked], y[~asked, 0])
        assert ours[asked] == pytest.approx(theirs.predict_proba(x[asked])[:, 1], abs=1e-5)


def test_steps_between_grades_by_hand():
    # more than 0: .7, than 1: .4, than 2: .5 (it can't rise, so grade 2 has nothing)
    assert _of_steps(np.array([[0.7, 0.4, 0.5]]))[0] == pytest.approx(np.array([0.3, 0.3, 0, 0.5]) / 1.1)


def test_findings_are_missed_and_doubted():
    rows = clusters([30, 30])
    findings = [{"G"}] * 30 + [{"N"}] * 30
    findings[3] = {"N"}
    found = doubts(rows, cases_of([None] * 60, findings=findings))
    assert {(d.case, d.value, d.missing) for d in found} == {(3, "G", True), (3, "N", False)}
    assert all(0.5 < d.score <= 1 for d in found)


def test_a_finding_that_is_never_recognised_goes_last():
    rng = np.random.default_rng(0)
    rows = clusters([40, 40])
    findings = [{"G"}] * 40 + [{"N"}] * 40
    findings[3] = {"N"}
    for i in rng.choice(80, 8, replace=False):
        findings[i] = findings[i] | {"rare"}  # anywhere: nothing in a descriptor tells
    found = doubts(rows, cases_of([None] * 80, findings=findings))
    order = [d.value for d in found]
    assert set(order[:2]) == {"G", "N"}
    assert all(d.score < 0.3 for d in found if d.value == "rare")


def test_a_data_set_that_never_names_a_finding_is_not_asked():
    rows = clusters([20, 20])
    named = cases_of([None] * 20, findings=[{"G"}] * 10 + [{"N"}] * 10)
    silent = cases_of([None] * 20, findings=[{"x"}] * 20, collection="other")
    found = doubts(rows, [*named, *silent])
    assert all(d.case < 20 for d in found)


def test_few_or_no_labels_raise_no_doubt():
    assert doubts(clusters([4]), cases_of([0, 0, 1, 1])) == []
    assert doubts(clusters([4]), cases_of([None] * 4)) == []
    assert doubts(np.zeros((0, 4), np.float32), []) == []
