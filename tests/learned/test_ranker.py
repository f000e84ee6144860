"""An archive asked by what it learnt: without the asker's own person, and after any change."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest

import foveola.learned as module
from foveola.archive import Archive
from foveola.errors import ArchiveError
from foveola.learned import RELEVANCE, Ranker, learn_archive
from foveola.relevance.learn import LEAST_PEOPLE
from foveola.relevance.order import NEIGHBOUR, OWN, SHARES
from learned.made import archive_of, direction, entries, entry

NEW = direction(np.random.default_rng(99), 1)
NOBODY = ("image", "/nowhere")


@pytest.fixture
def archive(tmp_path):
    with archive_of(tmp_path / "A", entries(unlabelled=6)) as opened:
        learn_archive(opened, ["dme"])
        yield opened


@pytest.fixture
def ranker(archive):
    return Ranker(archive)


def asked(ranker, archive, descriptor=NEW, id_=None, identity=NOBODY, label="grade"):
    order, relevance = ranker.choose(None, label)
    with archive.state() as state:
        return ranker.asked(state, relevance, order, descriptor, id_, identity)


def suggestion(ranker, archive, descriptor=NEW, id_=None, identity=NOBODY, label="grade"):
    with archive.state() as state:
        return ranker.suggestion(state, ranker.choose(None, label)[1], descriptor, id_, identity)


# Which order


def test_learned_is_the_order_where_something_was_learnt(ranker):
    order, relevance = ranker.choose(None, None)
    assert (order, relevance.label) == ("learned", "grade")
    assert ranker.choose("both", "dme")[1].label == "dme"
    assert ranker.choose("looks", None)[0] == "looks"


def test_looks_is_the_order_where_nothing_was(tmp_path):
    with archive_of(tmp_path / "A", entries(2)) as bare:
        ranker = Ranker(bare)
        assert ranker.choose(None, None) == ("looks", None)
        assert ranker.choose("looks", None) == ("looks", None)
        with pytest.raises(ArchiveError, match=r"no order by labels \(learnt: nothing yet\)"):
            ranker.choose("learned", None)
        with pytest.raises(ArchiveError, match="nothing of 'grade'"):
            ranker.choose(None, "grade")
        learn_archive(bare)
        with pytest.raises(ArchiveError, match="record more labels"):
            ranker.choose(None, "grade")


def test_a_label_that_was_not_learnt_is_named(ranker):
    with pytest.raises(ArchiveError) as said:
        ranker.choose("learned", "ward")
    assert str(said.value) == (
        "this archive has learnt nothing of 'ward' (learnt: grade, findings, dme); run 'foveola "
        "learn ARCHIVE --label ward', or ask by looks"
    )


def test_by_looks_nothing_is_asked(ranker, archive):
    _, relevance = ranker.choose("looks", None)
    with archive.state() as state:
        assert ranker.asked(state, relevance, "looks", NEW, None, NOBODY) is None


# What cases count for


def test_targets_and_codes_are_those_of_the_labels(ranker, archive):
    made = asked(ranker, archive)
    _, relevance = ranker.choose(None, None)
    assert made.share == SHARES["learned"]
    assert made.wanted.sum() == pytest.approx(1)
    for i, (_, case) in enumerate(archive.cases()):
        if case.grade is None:
            assert made.codes[i] == -1
            continue
        at = relevance.values.index(str(case.grade))
        assert made.codes[i] == at
        said = relevance.shares(relevance.logits(archive.vectors()[1][i : i + 1], relevance.fold[i : i + 1]))[0]
        expected = (1 - OWN) * said
        expected[at] += OWN
        near = sum(NEIGHBOUR * expected[j] for j in range(3) if abs(j - at) == 1)
        assert made.targets[i, at] == pytest.approx(expected[at] + near, abs=1e-6)


def test_a_corrected_label_counts_at_once(ranker, archive):
    before = asked(ranker, archive)
    case = archive.case(1)
    archive.update_records([replace(case, grade=(case.grade + 1) % 3)])
    after = asked(ranker, archive)
    assert after.codes[0] != before.codes[0]
    assert after.targets[0].argmax() != before.targets[0].argmax()
    assert after.targets[1:].tobytes() == before.targets[1:].tobytes()


def test_a_label_corrected_by_another_process_counts_at_once(archive):
    with Archive.open(archive.folder, read_only=True) as reader:
        ranker = Ranker(reader)
        before = asked(ranker, reader).codes[0]
        case = archive.case(1)
        archive.update_records([replace(case, grade=(case.grade + 1) % 3)])
        assert asked(ranker, reader).codes[0] != before


def test_parts_are_made_once_for_a_state(ranker, archive, monkeypatch):
    made = []
    real = module._made
    monkeypatch.setattr(module, "_made", lambda *of: made.append(of[1].label) or real(*of))
    for _ in range(3):
        asked(ranker, archive)
        suggestion(ranker, archive)
        asked(ranker, archive, label="dme")
    assert made == ["grade", "dme"]
    archive.update_records([replace(archive.case(1), grade=None)])
    asked(ranker, archive)
    assert made == ["grade", "dme", "grade"]


# Without the own person


def test_a_query_s_own_person_is_never_in_the_fit_that_judges_it(ranker, archive):
    _, relevance = ranker.choose(None, None)
    ids, matrix = archive.vectors()
    for i in (0, 1, 40):
        case = archive.case(int(ids[i]))
        fold = int(relevance.fold[i])
        without = relevance.wanted(relevance.apart[fold].logits(matrix[i : i + 1]))[0]
        whole = relevance.wanted(relevance.linear.logits(matrix[i : i + 1]))[0]
        assert np.abs(without - whole).max() > 1e-4
        by_id = asked(ranker, archive, matrix[i], int(ids[i]), NOBODY)
        by_person = asked(ranker, archive, matrix[i], None, case.identity)
        for made in (by_id, by_person):
            assert made.wanted.tolist() == without.tolist()
        of_nobody = asked(ranker, archive, matrix[i], None, NOBODY)
        assert of_nobody.wanted.tolist() == whole.tolist()
        told = suggestion(ranker, archive, matrix[i], None, case.identity)
        logits = relevance.apart[fold].logits(matrix[i : i + 1])[0]
        assert told.shares == relevance.told(logits)


def test_a_person_without_labels_taught_nothing(ranker, archive):
    ids, matrix = archive.vectors()
    made = asked(ranker, archive, matrix[-1], int(ids[-1]), archive.case(int(ids[-1])).identity)
    _, relevance = ranker.choose(None, None)
    whole = relevance.wanted(relevance.linear.logits(matrix[-1:]))[0]
    assert made.wanted.tolist() == whole.tolist()


def test_the_planted_leak_would_be_seen(tmp_path):
    """Labels by lot, and both photographs of a person alike: asked again, chance is all."""
    rng = np.random.default_rng(0)
    cases = []
    for person in range(80):
        own = direction(rng)
        grade = person % 2
        cases += [
            entry(f"{person}{eye}", own + np.float32(0.001) * direction(rng), subject=f"{person}", grade=grade)
            for eye in "lr"
        ]
    cases = [replace(e, descriptor=e.descriptor / np.linalg.norm(e.descriptor)) for e in cases]
    with archive_of(tmp_path / "A", cases) as archive:
        learn_archive(archive)
        ranker = Ranker(archive)
        right = {True: 0, False: 0}
        for id_, case in list(archive.cases())[::2]:
            vector = archive.vectors()[1][id_ - 1]
            for known in right:
                identity = case.identity if known else NOBODY
                made = asked(ranker, archive, vector, id_ if known else None, identity)
                right[known] += int(made.wanted.argmax()) == case.grade
    assert right[True] <= 40 + 14  # three deviations above chance, of 80
    assert right[False] >= right[True] + 5  # whom the whole fit saw it knows better


# After a change


def test_cases_that_came_and_went_are_answered_for(ranker, archive):
    asked(ranker, archive)
    rng = np.random.default_rng(5)
    archive.remove(subject="s3")
    archive.add(
        [
            entry("new1", direction(rng, 0), grade=0),
            entry("new2", direction(rng, 1)),
            entry("new3", direction(rng, 1), grade=4),
        ]
    )
    made = asked(ranker, archive)
    _, relevance = ranker.choose(None, None)
    ids, matrix = archive.vectors()
    assert len(made.targets) == len(made.codes) == len(ids) == 121
    assert made.codes[-3:].tolist() == [0, -1, -1]  # grade 4 was not learnt
    whole = relevance.shares(relevance.linear.logits(matrix[-2:-1]))[0]
    assert made.targets[-2] == pytest.approx(
        OWN * (whole + NEIGHBOUR * (np.eye(3, k=1) + np.eye(3, k=-1)) @ whole), abs=1e-6
    )
    # what stayed keeps its fold
    with archive.state() as state:
        part = ranker._part(state, relevance)
    kept = np.isin(np.arange(1, 121), ids)
    assert part.fold[:118].tolist() == relevance.fold[kept].tolist()
    assert suggestion(ranker, archive, matrix[-1], int(ids[-1])) is not None


def test_an_emptied_archive_is_answered_for(ranker, archive):
    asked(ranker, archive)
    archive.remove(ids=archive.vectors()[0].tolist())
    made = asked(ranker, archive)
    assert made.targets.shape == (0, 3)
    assert suggestion(ranker, archive) is not None
    order, relevance = ranker.choose(None, None)
    found = archive.search(NEW, 3, asked=lambda state: ranker.asked(state, relevance, order, NEW, None, NOBODY))
    assert (found.ids.tolist(), found.nearest) == ([], None)


def test_a_column_that_names_cases_by_now_is_answered_for(ranker, archive):
    rng = np.random.default_rng(5)
    archive.add([entry(f"n{i}", direction(rng), extra={"dme": f"{i} of many"}) for i in range(99)])
    made = asked(ranker, archive, label="dme")
    assert (made.codes[-99:] == -1).all()
    assert made.targets.shape == (219, 2)


def test_a_column_that_is_gone_is_answered_for(ranker, archive):
    archive.update_records([replace(case, extra={}) for _, case in archive.cases()])
    assert (asked(ranker, archive, label="dme").codes == -1).all()


def test_what_is_learnt_anew_is_read_at_once(ranker, archive):
    """Also where the file is written twice within a tick of the clock."""
    first = ranker.learned()
    assert ranker.learned() is first
    for count in range(3):
        archive.add([entry(f"more{count}", NEW, grade=1)])
        made = learn_archive(archive)
        os.utime(archive.folder / RELEVANCE, ns=(10**18, 10**18))
        assert ranker.learned().fitted_on == made.fitted_on
    (archive.folder / RELEVANCE).unlink()
    assert ranker.learned() is None
    assert ranker.choose(None, None) == ("looks", None)
    (archive.folder / RELEVANCE).write_bytes(b"foveola relevance 1 damaged")
    assert ranker.learned() is None


def test_an_answer_begun_with_what_was_learnt_before_ends_with_it(ranker, archive):
    """Another thread reads the new file between the choice and the question."""
    order, before = ranker.choose(None, "grade")
    archive.remove(subject="s0")
    learn_archive(archive)
    ranker.learned()
    with archive.state() as state:
        made = ranker.asked(state, before, order, NEW, None, NOBODY)
        part = ranker._part(state, before)
    assert part.fold.tolist() == before.fold[2:].tolist()
    assert len(made.targets) == 118


def test_many_threads_ask_while_it_learns_anew(archive):
    with Archive.open(archive.folder, read_only=True) as reader:
        ranker = Ranker(reader)
        ids, matrix = reader.vectors()
        stop, faults, counts = threading.Event(), [], []

        def ask(seed):
            rng = np.random.default_rng(seed)
            count = 0
            try:
                while not stop.is_set():
                    i = int(rng.integers(100))
                    order, relevance = ranker.choose(None, ("grade", "findings")[i % 2])
                    of = matrix[i], int(ids[i]), ("subject", f"c\0s{i // 2}")

                    def by(state, of=of, relevance=relevance, order=order):
                        assert ranker.suggestion(state, relevance, *of).shares
                        return ranker.asked(state, relevance, order, *of)

                    found = reader.search(matrix[i], 5, asked=by, exclude_ids=[int(ids[i])])
                    assert len(found.ids) == 5
                    count += 1
            except Exception as error:
                faults.append(repr(error))
            counts.append(count)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        rng = np.random.default_rng(0)
        for i in range(6):
            archive.add([entry(f"late{i}", direction(rng, i % 3), subject=f"late{i}", grade=i % 3)])
            if i % 2:
                archive.remove(image=f"late{i - 1}")
            learn_archive(archive)
        stop.set()
        for thread in threads:
            thread.join(60)
    assert faults == []
    assert min(counts) > 0


# What is suggested


def test_a_suggestion_says_how_many_of_100(ranker, archive):
    told = suggestion(ranker, archive)
    assert (told.label, told.several, told.new) == ("grade", False, True)
    assert told.people == 54
    assert {each.value for each in told.shares} == {"0", "1", "2"}
    assert sum(each.share.value for each in told.shares) == pytest.approx(1)
    values = [each.share.value for each in told.shares]
    assert values == sorted(values, reverse=True)
    for each in told.shares:
        assert each.share.low <= each.share.value <= each.share.high
    assert told.shares[0].value == "1"  # it was made to look so
    assert suggestion(ranker, archive, label="findings").several


def test_of_too_few_cases_to_say_how_surely_nothing_is_suggested(tmp_path):
    few = [e for e in entries(8, grades=1, findings=False) if e.case.eye == "left"]
    few += [
        replace(
            e,
            case=replace(
                e.case, image="x" + e.case.image, path="x" + e.case.path, subject="x" + e.case.subject, grade=3
            ),
        )
        for e in few
    ]
    assert len(few) >= 2 * LEAST_PEOPLE
    with archive_of(tmp_path / "A", few) as archive:
        learn_archive(archive)
        ranker = Ranker(archive)
        assert suggestion(ranker, archive) is None
        assert asked(ranker, archive).wanted.sum() == pytest.approx(1)


def test_warming_makes_what_the_first_search_would_wait_for(ranker, archive, monkeypatch):
    ranker.warm()
    monkeypatch.setattr(module, "_made", None)
    for label in ("grade", "findings", "dme"):
        asked(ranker, archive, label=label)


def test_a_bare_archive_is_warmed(tmp_path):
    with archive_of(tmp_path / "A", entries(2)) as bare:
        Ranker(bare).warm()
