"""An index in memory finds, learns and suggests what an archive does on a disk, to the last bit."""

import sys

import numpy as np
import pytest

from foveola import Encoder, Index
from foveola.archive.search import unit, units
from foveola.encoders.release import DEFAULT
from foveola.errors import MissingExtraError
from foveola.learned import Ranker, learn_archive
from foveola.relevance.learn import TooFewError
from learned.made import D, archive_of, direction, entries

QUERIES = [direction(np.random.default_rng(seed), seed % 3) for seed in range(90, 94)]
NOBODY = ("image", "/nowhere")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with archive_of(tmp_path_factory.mktemp("index") / "A", entries(unlabelled=6)) as opened:
        learn_archive(opened)
        yield opened


@pytest.fixture(scope="module")
def cases(archive):
    return [case for _, case in archive.cases()]


def index_of(archive, cases, label):
    return Index(
        archive.vectors()[1], [getattr(case, label) for case in cases], [case.subject for case in cases], label=label
    )


@pytest.fixture(scope="module")
def learnt(archive, cases):
    return {label: index_of(archive, cases, label).learn() for label in ("grade", "findings")}


def found_on_disk(archive, ranker, query, by, label, identity=None, ids=()):
    order, relevance = ranker.choose(by, label)
    told = []

    def asked(state):
        own = (query, ids[0] if ids else None, identity or NOBODY)
        told.append(ranker.suggestion(state, relevance, *own))
        return ranker.asked(state, relevance, order, *own)

    found = archive.search(query, 15, exclude_identity=identity, exclude_ids=ids, asked=asked)
    return found, told[0]


@pytest.mark.parametrize("label", ["grade", "findings"])
@pytest.mark.parametrize("by", [None, "learned", "both", "looks"])
def test_the_same_rows_in_the_same_order_with_the_same_numbers(archive, learnt, by, label):
    ranker = Ranker(archive)
    for query in QUERIES:
        disk, told = found_on_disk(archive, ranker, query, by, label)
        memory = learnt[label].search(query, 15, by=by)
        assert (memory.rows + 1).tolist() == disk.ids.tolist()
        assert [hit.similarity for hit in memory] == disk.similarities.tolist()
        assert [hit.score for hit in memory] == disk.scores.tolist()
        assert [hit.label for hit in memory] == [getattr(c, label) for c in disk.cases]
        assert (memory.considered, memory.suggestion) == (disk.considered, told)
        assert told is not None


@pytest.mark.parametrize("by", ["learned", "looks"])
def test_the_query_s_own_group_is_left_out_of_hits_and_fit(archive, cases, learnt, by):
    ranker = Ranker(archive)
    for row in (0, 3, 40):
        case, query = cases[row], archive.vectors()[1][row]
        disk, told = found_on_disk(archive, ranker, query, by, "grade", case.identity, [row + 1])
        memory = learnt["grade"].search(query, 15, exclude_group=case.subject, by=by)
        assert (memory.rows + 1).tolist() == disk.ids.tolist()
        assert [hit.score for hit in memory] == disk.scores.tolist()
        assert (memory.excluded, memory.suggestion) == (2, told)
        assert case.subject not in {hit.group for hit in memory}
        alone = learnt["grade"].search(query, 15, exclude_rows=[row], by=by)
        disk, told = found_on_disk(archive, ranker, query, by, "grade", None, [row + 1])
        assert (alone.rows + 1).tolist() == disk.ids.tolist()
        assert alone.suggestion == told


def test_learning_is_that_of_the_archive(archive, learnt):
    kept = Ranker(archive).learned().labels
    for label, index in learnt.items():
        ours, theirs = index._part.relevance, kept[label]
        assert ours.values == theirs.values
        assert ours.linear.weights.tobytes() == theirs.linear.weights.tobytes()
        assert ours.calibrated.curve == theirs.calibrated.curve
        assert (ours.fold == theirs.fold).all()


def test_learning_begins_from_the_encoder_s_classifier(monkeypatch):
    from foveola import index as module

    asked = []
    monkeypatch.setattr(module, "learn", lambda *_, prior, **__: asked.append(prior) or 1 / 0)
    rows, grades = np.eye(4), [0, 1, 2, 3]
    for encoder in (Encoder.load(), None):
        with pytest.raises(ZeroDivisionError):
            Index(rows, grades, label="grade").learn(encoder)
    assert asked[0].values == ("0", "1", "2", "3", "4"), DEFAULT
    assert asked[1] is None


def test_several_queries_are_several_answers(learnt, cases):
    index = learnt["grade"]
    groups = [case.subject for case in cases[:3]]
    several = index.search(index.vectors[:3], 4, exclude_group=groups)
    for query, group, found in zip(index.vectors, groups, several, strict=False):
        assert found == index.search(query, 4, exclude_group=group)
    with pytest.raises(ValueError, match="expected 3 groups"):
        index.search(index.vectors[:3], exclude_group=groups[:2])


def test_by_hand():
    # cosines of 0 degrees with 60, 180 and 90 degrees: 1/2, -1 and 0
    index = Index([[0.5, 3**0.5 / 2], [-2, 0], [0, 7]], ["a", None, "b"])
    found = index.search([3, 0], k=5)
    assert [(hit.row, hit.label) for hit in found] == [(0, "a"), (2, "b"), (1, None)]
    assert [hit.similarity for hit in found] == pytest.approx([0.5, 0, -1])
    assert len(found) == 3
    assert found[0].rank == 1


def test_what_is_of_nobody_known_is_left_out_for_nobody():
    index = Index(np.eye(3), groups=["x", None, float("nan")])
    for group in (None, "y"):
        assert len(index.search([1, 0, 0], exclude_group=group)) == 3
    assert index.search([1, 0, 0], exclude_group="x").rows.tolist() == [1, 2]


def test_lengths_are_brought_to_one_as_an_archive_does():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, D))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows *= 1 + rng.choice([0, 3e-7, 5e-4], size=(50, 1))
    for dtype in (np.float32, np.float64, np.float16):
        given = rows.astype(dtype)
        made = Index(given).vectors
        assert all((a == unit(b, D)).all() for a, b in zip(made, given, strict=True))
        assert units(7 * given)[0] == pytest.approx(made, abs=1e-3)


# How it is shown


def test_what_is_shown_names_no_group(learnt):
    found = learnt["grade"].search(QUERIES[0], 3, exclude_group="s1")
    shown = [repr(found), found._repr_html_(), found.to_frame().to_csv(), repr(found[0])]
    assert found[0].group not in (None, "")
    assert all(hit.group not in text for text in shown for hit in found)
    assert "Of 100 photographs like this" in repr(found)
    assert "ordered by the archive's labels (grade), looks second" in repr(found)
    assert list(found.to_frame()["row"]) == found.rows.tolist()
    assert repr(learnt["grade"]) == ("Index of 120 vectors of 16 numbers, 60 groups, 108 with a grade; learnt")


def test_labels_are_escaped():
    found = Index(np.eye(2), ["<script>", "b"]).search([1, 0], 1)
    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()


def test_a_frame_asks_for_pandas_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="to_frame needs pandas"):
        Index(np.eye(2)).search([1, 0]).to_frame()


FAULTS = {
    "labels": (lambda: Index(np.eye(2), ["a"]), "expected 2 labels, got 1"),
    "groups": (lambda: Index(np.eye(2), groups=["a"]), "expected 2 groups"),
    "zeros": (lambda: Index([[1, 0], [0, 0]]), "vector 1 is all zero or not finite"),
    "NaN": (lambda: Index([[1, 0], [np.nan, 0]]), "vector 1 is all zero or not finite"),
    "one vector": (lambda: Index([1, 0]), r"expected vectors \(N, D\) of numbers, got \(2,\)"),
    "text": (lambda: Index(["a", "b"]), r"expected vectors \(N, D\) of numbers"),
    "grades": (lambda: Index(np.eye(2), ["x", "1"], label="grade"), "grades are numbers, got 1, x"),
    "width": (lambda: Index(np.eye(2)).search([1, 0, 0]), r"expected a query \(2,\), got \(3,\)"),
    "no direction": (lambda: Index(np.eye(2)).search([0, 0]), "no direction"),
    "k": (lambda: Index(np.eye(2)).search([1, 0], 0), "k must be at least 1"),
    "order": (lambda: Index(np.eye(2)).search([1, 0], by="x"), "by is 'x'; expected one of learn"),
    "not learnt": (lambda: Index(np.eye(2)).search([1, 0], by="both"), r"learnt nothing .* call learn\(\)"),
    "nothing to learn": (lambda: Index(np.eye(2)).learn(), "so record more labels"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_told(name):
    call, words = FAULTS[name]
    with pytest.raises(ValueError, match=words):
        call()


def test_too_few_people_are_told():
    with pytest.raises(TooFewError, match="6 people or more"):
        Index(np.eye(8), list("aaaabbbb")).learn()
