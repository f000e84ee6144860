"""A reader study: what is drawn, in which order, and what comes of the answers."""

import csv
import io
import json
from collections import Counter

import numpy as np
import pytest

from foveola.archive import Archive, Entry
from foveola.errors import StudyError
from foveola.records import Case
from foveola.server.study import ANSWERS, Answer, Answers, code, new_study, open_study, same, to_csv


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """30 people with two photographs each."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("study") / "A"
    with Archive.create(folder, encoder="e", fingerprint="f", dimension=6) as made:
        entries = []
        for i in range(60):
            vector = rng.normal(size=6)
            case = Case(image=f"{i}", path=f"/{i}", subject=f"S{i // 2}", grade=i % 5)
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            entries.append(Entry(case=case, digest=bytes(16), size=1, mtime_ns=1, descriptor=vector))
        made.add(entries)
        yield made


@pytest.fixture
def study(archive, tmp_path):
    return new_study(archive, tmp_path / "S", queries=6, shown=5, controls=0.4, seed=3)


def test_hits_are_the_most_alike_and_controls_are_others(archive, study):
    ids, matrix = archive.vectors()
    rows = {id_: row for row, id_ in enumerate(ids.tolist())}
    person = {id_: archive.case(id_).subject for id_ in rows}
    assert len(study.items) == 6 * 5
    assert [item.number for item in study.items] == list(range(1, 31))
    assert len({person[item.query] for item in study.items}) == 6
    for case in range(1, 7):
        own = [item for item in study.items if item.case == case]
        assert Counter(item.condition for item in own) == {"hit": 3, "control": 2}
        query = own[0].query
        order = sorted(rows, key=lambda i: -float(matrix[rows[i]] @ matrix[rows[query]]))
        best = dict.fromkeys(person[i] for i in order if person[i] != person[query])
        hits = [item for item in own if item.condition == "hit"]
        assert [person[item.shown] for item in hits] == list(best)[:3]
        assert [item.rank for item in hits] == [1, 2, 3]
        assert len({person[item.shown] for item in own}) == 5  # nobody twice
        assert person[query] not in {person[item.shown] for item in own}
        for item in own:
            truth = archive.case(item.query).grade == archive.case(item.shown).grade
            assert item.truth == truth


def test_the_same_seed_draws_the_same(archive, study, tmp_path):
    def again(name, seed):
        return new_study(archive, tmp_path / name, queries=6, shown=5, controls=0.4, seed=seed)

    assert again("T", 3).items == study.items
    assert again("U", 4).items != study.items
    assert open_study(study.folder) == study


def test_each_reader_has_an_order_of_their_own_that_stays(study):
    first, second = study.order("R1"), study.order("R2")
    assert first == study.order("R1")
    assert first != second
    assert set(first) == set(second) == set(study.items)


def test_what_cannot_be_drawn_is_said(archive, study, tmp_path):
    with pytest.raises(StudyError, match="holds a study already"):
        new_study(archive, study.folder)
    with pytest.raises(StudyError, match="too few to show 40"):
        new_study(archive, tmp_path / "V", shown=40)
    with pytest.raises(StudyError, match="no case meets"):
        new_study(archive, tmp_path / "W", where="grade = 4 and grade = 3")
    with pytest.raises(StudyError, match="foveola study new"):
        open_study(tmp_path)
    (study.folder / "study.json").write_text("{", encoding="utf-8")
    with pytest.raises(StudyError, match="can't be read"):
        open_study(study.folder)


@pytest.mark.parametrize("reader", ["", "Dr Who", "=SUM(A1)", "-R", "a" * 21, "ü", "../x"])
def test_a_reader_is_a_code(reader):
    with pytest.raises(StudyError, match="no name"):
        code(reader)
    assert code("R-1_b") == "R-1_b"


def answer(item, reader="R1", similar=4):
    return Answer(reader=reader, item=item, order=1, similar=similar, useful=2, seconds=1.5, server_seconds=None)


def test_answers_outlive_a_crash_and_the_first_counts(study):
    answers = Answers(study.folder)
    assert answers.add(answer(1))
    assert not answers.add(answer(1, similar=1))
    with (study.folder / ANSWERS).open("ab") as file:
        file.write(b'{"reader": "R1", "item": 2, "or')  # killed in the middle of a line
    assert answers.add(answer(3))
    assert [(a.item, a.similar) for a in Answers(study.folder).all()] == [(1, 4), (3, 4)]
    with pytest.raises(StudyError, match="from 1 to 5, got 6"):
        answers.add(answer(4, similar=6))


def test_the_table_for_the_analysis(study):
    answers = Answers(study.folder)
    for reader, item in (("R2", 5), ("R1", 7), ("R1", 5)):
        answers.add(answer(item, reader))
    rows = list(csv.DictReader(io.StringIO(to_csv(study))))
    assert [(row["reader"], row["item"]) for row in rows] == [("R1", "5"), ("R1", "7"), ("R2", "5")]
    of = study.items[4]
    assert (rows[0]["case"], rows[0]["condition"]) == (str(of.case), of.condition)
    assert (rows[0]["score"], rows[0]["truth"]) == ("4", str(int(of.truth)))
    assert (rows[0]["seconds"], rows[0]["server_seconds"]) == ("1.5", "")


def test_truth_by_hand():
    def case(grade=None, findings=None):
        found = None if findings is None else frozenset(findings)
        return Case(image="a", path="/a", grade=grade, findings=found)

    assert same(case(1, "A"), case(1, "D")) is True
    assert same(case(1, "A"), case(2, "A")) is False
    assert same(case(1, "AD"), case(None, "D")) is True
    assert same(case(None, ""), case(None, "")) is True
    assert same(case(None, "A"), case(None)) is None


def test_the_file_tells_no_subject(study):
    told = (study.folder / "study.json").read_text(encoding="utf-8")
    assert "S1" not in told
    assert set(json.loads(told)["items"][0]) == {
        "number",
        "case",
        "query",
        "shown",
        "condition",
        "rank",
        "similarity",
        "truth",
    }


def test_every_flip_and_cut_is_an_error_a_warning_or_changes_nothing(study, caplog):
    for item in (4, 2):
        Answers(study.folder).add(answer(item))
    said = to_csv(study)
    for name in ("study.json", ANSWERS):
        path = study.folder / name
        data = path.read_bytes()
        flips = (data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(0, len(data), 11))
        for spoilt in [*flips, *(data[:end] for end in range(0, len(data), 97))]:
            path.write_bytes(spoilt)
            caplog.clear()
            try:
                assert to_csv(open_study(study.folder)) == said or "answers are missing" in caplog.text
            except StudyError as error:
                assert "can't be read" in str(error)  # noqa: PT017
        path.write_bytes(data)
