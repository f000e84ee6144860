"""Two photographs become a person; what one eye has, the person has."""

import numpy as np

from foveola.people import people_of
from foveola.records import Case

LABELS = ("N", "D", "G")


def photograph(subject, eye, findings, **extra):
    return Case(
        image=f"{subject}{eye}",
        path=f"/{subject}{eye}{extra.get('visit')}",
        subject=subject,
        eye=eye,
        findings=None if findings is None else frozenset(findings),
        collection="c",
        visit=extra.pop("visit", None),
        extra=extra,
    )


def test_eyes_are_paired_by_person_and_visit():
    cases = [
        photograph("a", "right", ["N"]),
        photograph("b", "left", ["G"]),
        photograph("a", "left", ["D", "G"]),
        photograph("a", "left", ["D"], visit=12.0),
        photograph("c", None, ["N"]),
    ]
    people = people_of(cases, LABELS)
    assert people.photographs.tolist() == [[2, 0], [1, -1], [3, -1]]
    assert people.present.tolist() == [[True, True], [True, False], [True, False]]
    assert people.truth.tolist() == [[0, 1, 1], [0, 0, 1], [0, 1, 0]]
    assert people.eyes[0].tolist() == [[0, 1, 1], [1, 0, 0]]
    assert np.isnan(people.eyes[1, 1]).all()
    assert people.identities[0] == people.identities[2] != people.identities[1]


def test_a_person_is_normal_only_if_both_eyes_are():
    both = [photograph("a", eye, ["N"]) for eye in ("left", "right")]
    assert people_of(both, LABELS).truth.tolist() == [[1, 0, 0]]
    other = [photograph("a", "left", ["N"]), photograph("a", "right", ["x"])]
    assert people_of(other, LABELS).truth.tolist() == [[0, 0, 0]]


def test_the_official_label_of_a_person_goes_first():
    cases = [photograph("a", eye, ["N"], subject_findings="D; G") for eye in ("left", "right")]
    assert people_of(cases, LABELS).truth.tolist() == [[0, 1, 1]]
    assert people_of(cases, LABELS).eyes[0].tolist() == [[1, 0, 0], [1, 0, 0]]


def test_what_nobody_looked_at_is_not_known():
    half = [photograph("a", "left", ["D"]), photograph("a", "right", None)]
    people = people_of(half, LABELS)
    assert np.isnan(people.truth).all()
    assert people.eyes[0, 0].tolist() == [0, 1, 0]
    assert people_of([], LABELS).truth.shape == (0, 3)


def test_some_people_are_chosen():
    cases = [photograph(name, "left", ["D"]) for name in "abc"]
    some = people_of(cases, LABELS).of(np.array([2, 0]))
    assert some.photographs[:, 0].tolist() == [2, 0]
    assert [who[1][-1] for who in some.identities] == ["c", "a"]


def test_odirs_official_labels_are_read(shared_data):
    from foveola.datasets.manifest import Manifest

    cases = list(Manifest.read(shared_data / "odir/labels.csv", collection="odir").cases())
    people = people_of(cases, tuple("NDGCAHMO"))
    assert people.truth.shape == (2237, 8)
    assert people.truth.sum(axis=0).tolist() == [714, 750, 136, 138, 105, 81, 108, 594]
    assert people.present.all(axis=1).sum() == 2034
