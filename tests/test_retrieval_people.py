"""Searching for people as a caller of the Python interface does it."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from foveola.datasets.manifest import Manifest
from foveola.errors import ArchiveError, ImageError
from foveola.indexing import add_missing
from foveola.retrieval import Retriever


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms, collection="phantom").cases())


@pytest.fixture(scope="module")
def retriever(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "archive"
    add_missing(folder, cases)
    with Retriever.open(folder) as opened:
        yield opened


def eyes_of(cases, subject, visit):
    """Paths of the left and the right photograph."""
    of = {c.eye: Path(c.path) for c in cases if (c.subject, c.visit) == (subject, visit)}
    return of["left"], of["right"]


@pytest.fixture(scope="module")
def pair(cases):
    return eyes_of(cases, cases[0].subject, cases[0].visit)


def test_hits_are_people_ordered_as_a_slow_loop_orders_them(retriever, cases, pair):
    def row(path):
        case = next(case for case in cases if case.path == str(path))
        return retriever.encoder.encode_case(case).descriptor

    def alike(other):
        ll, lr, rl, rr = (float(row(a) @ row(b)) for a in pair for b in other)
        return max(ll + rr, lr + rl) / 2

    people = sorted({(c.subject, c.visit) for c in cases if c.subject != cases[0].subject})
    scores = {who: alike(eyes_of(cases, *who)) for who in people}
    result = retriever.search_person(*pair, k=5)
    best = sorted(people, key=lambda who: -scores[who])[:5]
    assert [(hit.subject, hit.visit) for hit in result.hits] == best
    assert [hit.similarity for hit in result.hits] == pytest.approx([scores[w] for w in best])
    # 8 people with two visits each: the query itself is not counted, its other visit is
    assert (result.considered, result.excluded_same_subject, result.unassigned) == (14, 1, 0)
    assert result.in_archive == ("left", "right")
    assert {eye: case.subject for eye, case in result.query.items()} == dict.fromkeys(
        ("left", "right"), cases[0].subject
    )


def test_the_other_visit_of_the_subject_is_found_when_asked_for(retriever, cases, pair):
    result = retriever.search_person(*pair, k=40, same_subject=True)
    own = [hit for hit in result.hits if hit.subject == cases[0].subject]
    assert [hit.visit for hit in own] != [cases[0].visit]
    assert len(own) == 1
    assert len(result.hits) == 15


def test_one_eye_is_enough(retriever, pair):
    left = retriever.search_person(pair[0], None, k=3)
    assert list(left.query) == ["left"]
    assert {pair.query for hit in left.hits for pair in hit.pairs} == {"left"}
    assert all(len(hit.pairs) == 2 for hit in left.hits)  # with each eye of the other
    right = retriever.search_person(None, pair[1], k=3)
    assert list(right.query) == ["right"]
    assert right.considered == left.considered == 14


def test_new_photographs_can_be_given_a_subject(retriever, cases, pair, tmp_path):
    new = []
    for path in pair:
        new.append(tmp_path / path.name)
        cv2.imwrite(str(new[-1]), cv2.imread(str(path))[::-1])
    free = retriever.search_person(*new, k=40)
    assert (free.in_archive, free.considered) == ((), 16)
    named = retriever.search_person(*new, subject=cases[0].subject, collection="phantom")
    assert (named.considered, named.excluded_same_subject) == (14, 2)
    # one that the archive holds speaks for both
    mixed = retriever.search_person(pair[0], new[1])
    assert (mixed.considered, mixed.excluded_same_subject) == (14, 1)


def test_a_condition_holds_inside_the_search(retriever, cases, pair):
    result = retriever.search_person(*pair, k=40, where="grade >= 3")
    fitting = {(c.subject, c.visit) for c in cases if c.grade >= 3 and c.subject != cases[0].subject}
    assert {(hit.subject, hit.visit) for hit in result.hits} == fitting
    assert all(hit.grade >= 3 for hit in result.hits)


def test_two_photographs_that_are_not_two_eyes_of_one_person_are_refused(retriever, cases, pair, tmp_path):
    other = next(c for c in cases if c.subject != cases[0].subject)
    left, right = eyes_of(cases, other.subject, other.visit)
    with pytest.raises(ImageError, match="two subjects"):
        retriever.search_person(pair[0], right)
    with pytest.raises(ImageError, match=r"as the left eye is case .* knows it as the right one"):
        retriever.search_person(pair[1], pair[0])
    copy = Path(shutil.copy(left, tmp_path / "copy.jpg"))
    with pytest.raises(ImageError, match="same photograph, or two of the same eye"):
        retriever.search_person(left, copy, subject="x")
    with pytest.raises(ValueError, match="the left eye, the right eye, or both"):
        retriever.search_person(None, None)


def test_an_archive_without_subjects_is_told(cases, tmp_path):
    add_missing(tmp_path / "archive", [replace(case, subject=None) for case in cases[:4]])
    with (
        Retriever.open(tmp_path / "archive") as opened,
        pytest.raises(ArchiveError, match="records no subject, so people can't be compared"),
    ):
        opened.search_person(Path(cases[5].path), None)
