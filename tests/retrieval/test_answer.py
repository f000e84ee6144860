"""Answers in three orders, asked with descriptors alone: what is ordered, suggested and refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from foveola.archive import Archive
from foveola.errors import ArchiveError
from foveola.learned import RELEVANCE, refresh
from foveola.records import Case
from foveola.relevance.order import ORDERS, SHARES
from foveola.retrieval import Marks, Retriever
from foveola.retrieval.results import Query
from foveola.trust import Looks
from learned.made import archive_of, direction, entries

RETINA = Looks(unlike=0.5, foreign=False)
FOREIGN, POOR = Looks(unlike=1.0, foreign=True), Looks(unlike=0.5, foreign=False, poor=True)
MARK = np.zeros((2, 255), np.float32)
NEW = direction(np.random.default_rng(99), 1, noise=0.4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An archive of 60 people, 6 of them without labels, that has learnt."""
    folder = tmp_path_factory.mktemp("answers") / "A"
    with archive_of(folder, entries(unlabelled=6, noise=0.7)) as archive:
        refresh(archive)
    return folder


@pytest.fixture(scope="module")
def retriever(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("encoder")
    encoder = SimpleNamespace(name="toy", fingerprint="f00d", release=SimpleNamespace(folder=empty))
    with Retriever(Archive.open(folder, read_only=True), encoder) as opened:
        yield opened


def query(descriptor=NEW, looks=RETINA, id_=None, **record):
    case = Case(image="q.jpg", path="/q.jpg", **record)
    return Query(case, id_, bytes(16), descriptor, 0.9, looks, MARK)


def in_archive(retriever, id_):
    ids, matrix = retriever.archive.vectors()
    case = retriever.archive.case(id_)
    return Query(case, id_, bytes(16), matrix[ids.tolist().index(id_)], 0.9, RETINA, MARK)


def told(result):
    """The answer without the time it took."""
    return replace(result, milliseconds=0)


def test_learned_is_the_order_unless_told_otherwise(retriever):
    plain = retriever.search_query(query(), 12)
    assert (plain.order, plain.label) == ("learned", "grade")
    for order in ORDERS:
        assert retriever.search_query(query(), 12, by=order).order == order
    assert retriever.search_query(query(), 12, label="findings").label == "findings"


@pytest.mark.parametrize("where", [None, "grade >= 1", "grade = 4"])
@pytest.mark.parametrize("k", [1, 12, 500])
def test_by_looks_is_what_a_search_of_the_archive_gives(retriever, where, k):
    asked = in_archive(retriever, 7)
    result = retriever.search_query(asked, k, by="looks", where=where)
    found = retriever.archive.search(
        asked.descriptor, k, where=where, exclude_identity=asked.case.identity, exclude_ids=[7]
    )
    assert [hit.id for hit in result.hits] == found.ids.tolist()
    assert [hit.similarity for hit in result.hits] == found.similarities.tolist()
    assert [hit.score for hit in result.hits] == found.similarities.tolist()
    assert [hit.case for hit in result.hits] == list(found.cases)
    assert result.considered == found.considered
    assert result.excluded_same_subject == found.excluded_same_subject


def test_scores_of_the_other_orders_by_hand(retriever):
    ids, matrix = retriever.archive.vectors()
    for order in ("learned", "both"):
        result = retriever.search_query(query(), 12, by=order)
        _, relevance = retriever._ranker.choose(order, "grade")
        with retriever.archive.state() as state:
            asked = retriever._ranker.asked(state, relevance, order, NEW, None, query().case.identity)
        for hit in result.hits:
            row = ids.tolist().index(hit.id)
            cosine = float(matrix[row].astype(float) @ NEW)
            agreement = float(asked.targets[row] @ asked.wanted)
            assert hit.similarity == pytest.approx(cosine, abs=1e-6)
            expected = (1 - SHARES[order]) * cosine + SHARES[order] * agreement
            assert hit.score == pytest.approx(expected, abs=1e-6)


def test_learned_finds_more_of_the_right_grade_than_looks(retriever):
    right = dict.fromkeys(ORDERS, 0)
    for id_ in range(1, 100, 6):
        asked = in_archive(retriever, id_)
        for order in ORDERS:
            hits = retriever.search_query(asked, 10, by=order).hits
            right[order] += sum(hit.case.grade == asked.case.grade for hit in hits)
    assert right["learned"] >= right["looks"]
    assert right["learned"] >= right["both"] - 5


@pytest.mark.parametrize("by", [None, *ORDERS])
@pytest.mark.parametrize("looks", [FOREIGN, POOR])
def test_a_picture_that_cannot_be_compared_is_answered_by_looks_without_a_word(retriever, looks, by):
    result = retriever.search_query(query(looks=looks), 12, by=by)
    assert result.order == "looks"
    assert result.trust.suggestion is None
    assert not result.trust.sufficient
    assert [hit.score for hit in result.hits] == [hit.similarity for hit in result.hits]
    for hit in result.hits:
        assert hit.trust is None or (hit.trust.same, hit.trust.other, hit.trust.agreement) == (None, None, None)


@pytest.mark.parametrize("where", [None, "grade = 1"])
def test_far_from_every_case_nothing_is_suggested(retriever, where):
    result = retriever.search_query(query(-NEW), 12, where=where)
    assert result.order == "looks"
    assert result.trust.suggestion is None
    assert not result.trust.sufficient
    assert all(hit.trust.agreement is None for hit in result.hits)


@pytest.mark.parametrize("where", ["grade = 2", "grade = 0", "eye = 'left'", "grade = 4"])
@pytest.mark.parametrize("by", ORDERS)
def test_a_condition_changes_no_suggestion(retriever, where, by):
    free = retriever.search_query(query(), 12, by=by).trust.suggestion
    assert free is not None
    assert retriever.search_query(query(), 12, by=by, where=where).trust.suggestion == free


def test_the_number_of_hits_changes_no_suggestion_and_fewer_are_the_first(retriever):
    many = retriever.search_query(query(), 12)
    few = retriever.search_query(query(), 5)
    assert few.hits == many.hits[:5]
    assert few.trust == many.trust


def test_marks_move_the_order_and_nothing_is_suggested(retriever):
    plain = retriever.search_query(query(), 12)
    marks = Marks(more=(plain.hits[3].id,), less=(plain.hits[0].id,))
    result = retriever.search_query(query(), 12, marks=marks)
    assert result.order == "learned"
    assert result.trust.suggestion is None
    assert all(hit.trust is None for hit in result.hits)
    assert not {hit.id for hit in result.hits} & marks.all
    both = Marks(more=(plain.hits[0].id,), less=(plain.hits[0].id,))
    neither = retriever.search_query(query(), 12, marks=both)
    assert neither.trust.suggestion == plain.trust.suggestion
    assert plain.hits[0].id not in {hit.id for hit in neither.hits}


def test_a_query_of_the_archive_is_told_by_those_who_did_not_see_it(retriever):
    asked = in_archive(retriever, 9)
    other_file = asked._replace(id=None, case=replace(asked.case, path="/new.jpg"))
    stranger = query(asked.descriptor)
    own, person, nobody = (retriever.search_query(each, 12).trust.suggestion for each in (asked, other_file, stranger))
    assert own == person
    assert own != nobody


def test_hits_without_a_label_are_counted_and_have_no_chance(retriever):
    result = retriever.search_query(query(), 500)
    assert len(result.hits) == 120
    assert result.recorded == 108
    assert retriever.search_query(query(), 500, by="looks").recorded == 108
    for hit in result.hits:
        assert (hit.trust.agreement is None) == (hit.case.grade is None)


def test_the_chance_of_a_hit_is_the_share_of_its_grade(retriever):
    result = retriever.search_query(query(), 12, by="looks")
    shares = {each.value: each.share for each in result.trust.suggestion.shares}
    for hit in result.hits:
        if hit.case.grade is not None:
            assert hit.trust.agreement.value == pytest.approx(shares[str(hit.case.grade)].value)


def test_labels_that_were_not_learnt_are_refused(retriever):
    assert retriever.labels() == ("grade", "findings")
    for by in (None, *ORDERS):
        with pytest.raises(ArchiveError, match="nothing of 'ward'"):
            retriever.search_query(query(), 3, by=by, label="ward")


def test_where_nothing_was_learnt_looks_is_the_order(retriever, folder):
    path = folder / RELEVANCE
    kept = path.read_bytes()
    before = retriever.search_query(query(), 12, by="looks")
    path.unlink()
    try:
        bare = retriever.search_query(query(), 12)
        assert (bare.order, bare.label, bare.recorded) == ("looks", None, None)
        assert bare.trust.suggestion is None
        assert [hit.id for hit in bare.hits] == [hit.id for hit in before.hits]
        with pytest.raises(ArchiveError, match="no order by labels"):
            retriever.search_query(query(), 12, by="learned")
    finally:
        path.write_bytes(kept)
    assert retriever.search_query(query(), 12).order == "learned"


def test_the_same_question_has_the_same_answer(retriever):
    assert told(retriever.search_query(query(), 12)) == told(retriever.search_query(query(), 12))
