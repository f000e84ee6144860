"""People against people on made-up descriptors, by hand and by a slow loop."""

import numpy as np
import pytest

from foveola.archive import Archive, Entry
from foveola.errors import ArchiveError, FilterError
from foveola.people_search import EyePair, PeopleSearch
from foveola.records import Case

NAN = np.nan


def at(degrees):
    """A unit vector of the plane, so that cosines can be told by hand."""
    radians = np.deg2rad(degrees)
    return np.array([np.cos(radians), np.sin(radians)], np.float32)


def photograph(name, vector, **record):
    case = Case(image=name, path=f"/{name}", **record)
    return Entry(case=case, descriptor=vector, digest=bytes(16), size=1, mtime_ns=1)


def filled(folder, entries, dimension=2):
    made_by = {"encoder": "toy", "fingerprint": "f", "dimension": dimension}
    archive = Archive.create(folder / "archive", **made_by)
    archive.add(entries)
    return archive


@pytest.fixture
def archive(tmp_path):
    """Four people: alike eye by eye, alike crosswise, with one eye, and another visit of the first.

    Photographs of a person do not lie beside each other, and two belong to nobody.
    """
    a, b = {"subject": "a", "visit": 0}, {"subject": "b"}
    entries = [
        photograph("a-right", at(90), eye="right", grade=1, findings=frozenset("N"), **a),
        photograph("b-left", at(90), eye="left", findings=frozenset("G"), **b),
        photograph("nobody", at(0), eye="left"),
        photograph("a-left", at(60), eye="left", grade=3, findings=frozenset("D"), **a),
        photograph("c-right", at(0), subject="c", eye="right", grade=2),
        photograph("b-right", at(0), eye="right", findings=frozenset("D"), **b),
        photograph("a-left-again", at(0), eye="left", **a),
        photograph("unknown-eye", at(0), subject="c"),
        photograph("a-later", at(0), subject="a", visit=12, eye="left"),
    ]
    with filled(tmp_path, entries) as opened:
        yield opened


def names(found):
    return ["+".join(case.image for case in hit.cases.values()) for hit in found.hits]


def test_two_eyes_against_two_are_paired_the_better_way_and_one_against_all(archive):
    # Left at 0 and right at 90 degrees. b crosswise: cos 0 twice. a straight: (cos 60 + cos 0) / 2.
    # c's only eye against both: (cos 0 + cos 90) / 2, and so is a-later's.
    found = PeopleSearch(archive).search({"left": at(0), "right": at(90)}, 10)
    assert names(found) == ["b-left+b-right", "a-left+a-right", "c-right", "a-later"]
    assert [hit.similarity for hit in found.hits] == pytest.approx([1, 0.75, 0.5, 0.5], abs=1e-6)
    assert [hit.crossed for hit in found.hits] == [True, False, False, False]
    first, second, third, _ = (hit.pairs for hit in found.hits)
    assert first == (EyePair("left", "right", 1.0), EyePair("right", "left", 1.0))
    assert [(p.query, p.eye) for p in second] == [("left", "left"), ("right", "right")]
    assert [p.similarity for p in second] == pytest.approx([0.5, 1], abs=1e-6)
    assert [(p.query, p.eye) for p in third] == [("left", "right"), ("right", "right")]
    assert (found.considered, found.excluded_same_subject, found.unassigned) == (4, 0, 2)


def test_one_eye_asked_is_compared_with_every_eye_there_is(archive):
    # a: (cos 60 + cos 90) / 2; b: (cos 90 + cos 0) / 2
    found = PeopleSearch(archive).search({"left": at(0)}, 10)
    assert names(found) == ["c-right", "a-later", "b-left+b-right", "a-left+a-right"]
    assert [hit.similarity for hit in found.hits] == pytest.approx([1, 1, 0.5, 0.25], abs=1e-6)
    assert [len(hit.pairs) for hit in found.hits] == [1, 1, 2, 2]


def test_a_person_has_what_either_eye_has_and_the_worse_grade(archive):
    hits = PeopleSearch(archive).search({"left": at(60), "right": at(90)}, 4).hits
    first = next(hit for hit in hits if hit.subject == "a" and hit.visit == 0)
    assert (first.grade, first.findings) == (3, frozenset("D"))
    assert [archive.case(i).image for i in first.ids.values()] == ["a-left", "a-right"]
    lone = next(hit for hit in hits if hit.subject == "c")
    assert (lone.grade, lone.findings, list(lone.cases)) == (2, None, ["right"])


def test_all_visits_of_the_querys_subject_are_left_out_and_counted(archive):
    query = {"left": at(0), "right": at(90)}
    search = PeopleSearch(archive)
    a = archive.case(1).identity
    found = search.search(query, 10, exclude_identity=a)
    assert names(found) == ["b-left+b-right", "c-right"]
    assert (found.considered, found.excluded_same_subject) == (2, 2)
    # the visit that is the query itself is not counted
    itself = search.search(query, 10, exclude_identity=a, exclude_ids=[1])
    assert (itself.considered, itself.excluded_same_subject) == (2, 1)
    only = search.search(query, 10, exclude_ids=[1])
    assert names(only) == ["b-left+b-right", "c-right", "a-later"]


def test_a_person_meets_a_condition_that_either_photograph_meets(archive):
    query = {"left": at(0), "right": at(90)}
    search = PeopleSearch(archive)
    found = search.search(query, 10, where="findings has 'D'")
    assert names(found) == ["b-left+b-right", "a-left+a-right"]
    assert found.considered == 2
    assert names(search.search(query, 10, where="grade = 1")) == ["a-left+a-right"]
    assert search.search(query, 10, where="grade = 4").hits == ()
    # a second photograph of the same eye stands for nobody
    assert search.search(query, 10, where="image = 'a-left-again'").considered == 0
    with pytest.raises(FilterError):
        search.search(query, 10, where="grad = 1")


def test_people_are_paired_again_only_when_the_archive_has_changed(archive, monkeypatch):
    search = PeopleSearch(archive)
    query = {"left": at(0)}
    search.search(query, 1)
    with monkeypatch.context() as patched:
        patched.setattr("foveola.people_search.pair_eyes", None)  # may not be called again
        search.search(query, 1)
    archive.add([photograph("d", at(0), subject="d", eye="left")])
    assert search.search(query, 10).considered == 5
    archive.update_records([Case(image="d", path="/d", subject="c", eye="left")])
    assert names(search.search(query, 10))[0] == "d+c-right"


@pytest.mark.parametrize(
    ("record", "word"),
    [({"eye": "left"}, "no subject,"), ({"subject": "a"}, "no eye,"), ({}, "no subject and no eye,")],
)
def test_an_archive_without_people_says_what_it_lacks(tmp_path, record, word):
    with (
        filled(tmp_path, [photograph("x", at(0), **record)]) as archive,
        pytest.raises(ArchiveError, match=f"records {word}"),
    ):
        PeopleSearch(archive).search({"left": at(0)}, 1)


def test_wrong_arguments_are_named(archive):
    search = PeopleSearch(archive)
    with pytest.raises(ValueError, match="one eye or of both"):
        search.search({}, 1)
    with pytest.raises(ValueError, match="k must be at least 1"):
        search.search({"left": at(0)}, 0)
    with pytest.raises(ValueError, match="of length 1"):
        search.search({"left": 2 * at(0)}, 1)


def by_a_loop(people, query):
    """Similarity of each person, one pair of photographs after the other, in float64."""
    scores = []
    for eyes in people:
        c = {(i, j): float(q.astype(float) @ e.astype(float)) for i, q in query.items() for j, e in eyes.items()}
        if len(query) == len(eyes) == 2:
            straight = c["left", "left"] + c["right", "right"]
            scores.append(max(straight, c["left", "right"] + c["right", "left"]) / 2)
        else:
            scores.append(sum(c.values()) / len(c))
    return np.array(scores)


@pytest.mark.parametrize("asked", [("left", "right"), ("left",), ("right",)])
def test_the_fast_path_agrees_with_a_slow_loop(tmp_path, asked):
    rng = np.random.default_rng(len(asked))
    rows = rng.normal(size=(400, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    rows[200:240] = rows[:40]  # equal photographs, so that there are ties
    people, entries = {}, []
    for i in rng.permutation(400):
        who, eye = str(i // 2 % 150), ("left", "right")[i % 2]
        if rng.random() < 0.7:
            entries.append(photograph(f"{i}", rows[i], subject=who, eye=eye))
            people.setdefault(who, {}).setdefault(eye, rows[i])
    query = dict(zip(asked, rows[300:302], strict=False))
    scores = by_a_loop(people.values(), query)
    expected = [list(people)[i] for i in np.lexsort((np.arange(len(scores)), -scores.astype(np.float32)))]
    with filled(tmp_path, entries, 8) as archive:
        found = PeopleSearch(archive).search(query, 1000)
        assert [hit.subject for hit in found.hits] == expected
        assert [h.similarity for h in found.hits] == pytest.approx(sorted(scores)[::-1], abs=1e-6)
        for hit in found.hits:
            assert hit.similarity == pytest.approx(np.mean([p.similarity for p in hit.pairs]), abs=1e-6)
        few = PeopleSearch(archive).search(query, 7)
        assert [hit.subject for hit in few.hits] == expected[:7]


def test_where_both_ways_give_the_same_the_eyes_stay_on_their_sides(archive):
    found = PeopleSearch(archive).search({"left": at(45), "right": at(45)}, 10)
    assert [hit.crossed for hit in found.hits] == [False] * 4
