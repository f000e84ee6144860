"""Indexing, searching and assessing as a caller of the Python interface does it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foveola.archive import Archive
from foveola.assessment import assess
from foveola.datasets.manifest import Manifest
from foveola.datasets.splits import SplitFiles
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import DEFAULT, find, read_release, write_release
from foveola.errors import ArchiveError, EncoderError, FilterError, ImageError
from foveola.files import read_json, write_json
from foveola.images.fundus import Contract
from foveola.indexing import add_missing, index_cases, open_archive
from foveola.records import Case
from foveola.retrieval import Retriever
from foveola.trust import ALIKE, FAMILIARITY, SEEN, TRUST, Seen, calibrate


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms, collection="phantom").cases())


@pytest.fixture(scope="module")
def archive(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrieval") / "archive"
    add_missing(folder, cases)
    return folder


@pytest.fixture(scope="module")
def retriever(archive):
    with Retriever.open(archive) as opened:
        yield opened


def rows(folder):
    with Archive.open(folder, read_only=True) as opened:
        ids, vectors = opened.vectors()
        return ids.tolist(), vectors.tobytes(), list(opened.cases())


def test_a_second_run_adds_nothing_and_an_interrupted_one_is_completed(cases, archive, tmp_path):
    again = add_missing(archive, cases)
    assert (again.added, again.unchanged, again.relabelled) == (0, len(cases), 0)
    add_missing(tmp_path / "half", cases[:13])
    done = add_missing(tmp_path / "half", cases)
    assert (done.added, done.unchanged) == (len(cases) - 13, 13)
    assert rows(tmp_path / "half") == rows(archive)


def test_an_archive_can_be_made_where_a_kill_cut_the_encoders_copy_short(cases, tmp_path):
    partial = tmp_path / "archive/encoder.partial"
    partial.mkdir(parents=True)
    (partial / "model.bin").write_bytes(b"half")
    assert add_missing(tmp_path / "archive", cases[:2]).added == 2
    assert not partial.exists()


def test_a_changed_file_is_encoded_again_and_a_changed_label_is_not(cases, tmp_path):
    copies = []
    for case in cases[:4]:
        path = tmp_path / Path(case.path).name
        shutil.copy(case.path, path)
        copies.append(replace(case, path=str(path)))
    add_missing(tmp_path / "archive", copies)
    before = rows(tmp_path / "archive")
    shutil.copy(cases[9].path, copies[1].path)
    relabelled = [replace(copies[0], grade=(copies[0].grade + 1) % 5), *copies[1:]]
    done = add_missing(tmp_path / "archive", relabelled)
    assert (done.added, done.unchanged, done.relabelled) == (1, 3, 1)
    ids, vectors, stored = rows(tmp_path / "archive")
    assert ids == before[0]
    old = np.frombuffer(before[1], np.float32).reshape(4, -1)
    new = np.frombuffer(vectors, np.float32).reshape(4, -1)
    assert (old == new).all(axis=1).tolist() == [True, False, True, True]
    assert stored[0][1].grade == relabelled[0].grade


def test_bad_files_do_not_stop_the_others(cases, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(Path(cases[0].path).read_bytes()[:2000])
    broken = Case(image="bad.jpg", path=str(bad))
    done = add_missing(tmp_path / "archive", [cases[0], broken, cases[1]])
    assert done.added == 2
    assert [failed.case.image for failed in done.failed] == ["bad.jpg"]
    assert add_missing(tmp_path / "archive", [broken]).failed  # it is tried again


def test_another_encoder_is_refused_for_adding_and_for_searching(cases, archive, tmp_path):
    other = Path(shutil.copytree(find(DEFAULT), tmp_path / "other"))
    write_release(other, name="other", dimension=256, contract=Contract(mask=False), card={})
    with pytest.raises(ArchiveError, match="was made by the encoder"):
        add_missing(archive, cases, other)
    with pytest.raises(ArchiveError, match="was made by the encoder"):
        Retriever.open(archive, other)
    opened, own = open_archive(archive)
    with opened, pytest.raises(ArchiveError, match="not by 'other'"):
        index_cases(opened, Encoder.load(other), cases)
    assert own == archive / "encoder"


def test_a_tampered_encoder_inside_the_archive_is_refused(archive, tmp_path):
    copy = Path(shutil.copytree(archive, tmp_path / "copy"))
    (copy / "encoder/model.bin").write_bytes(b"nothing")
    with pytest.raises(EncoderError, match="not those it was released with"):
        Retriever.open(copy)
    shutil.rmtree(copy / "encoder")
    with pytest.raises(EncoderError, match="is no encoder"):
        Retriever.open(copy)


def test_hits_are_the_best_of_a_slow_loop_without_the_same_subject(retriever, cases):
    query = cases[5]
    result = retriever.search(Path(query.path), k=6)
    own = retriever.encoder.encode_case(query).descriptor
    scored = [
        (float(retriever.encoder.encode_case(case).descriptor @ own), case)
        for case in cases
        if case.subject != query.subject
    ]
    expected = sorted(scored, key=lambda pair: -pair[0])[:6]
    assert [hit.case for hit in result.hits] == [case for _, case in expected]
    assert [hit.similarity for hit in result.hits] == pytest.approx([s for s, _ in expected])
    assert [hit.rank for hit in result.hits] == [1, 2, 3, 4, 5, 6]
    assert result.excluded_same_subject == 3  # four images of each subject, one is the query
    assert result.considered == len(cases) - 4
    assert result.in_archive


def test_a_copy_under_another_name_is_known_again(retriever, cases, tmp_path):
    shutil.copy(cases[5].path, tmp_path / "copy.jpg")
    result = retriever.search(tmp_path / "copy.jpg", k=40)
    assert result.query == cases[5]
    assert cases[5].subject not in {hit.case.subject for hit in result.hits}


def test_the_own_subject_is_found_when_asked_for(retriever, cases):
    result = retriever.search(Path(cases[5].path), k=40, same_subject=True)
    assert len(result.hits) == len(cases) - 1
    assert cases[5] not in [hit.case for hit in result.hits]
    assert result.excluded_same_subject == 0


def test_a_subject_can_be_named_for_a_new_photograph(retriever, cases, tmp_path):
    import cv2

    image = cv2.imread(cases[5].path)
    cv2.imwrite(str(tmp_path / "new.png"), image[::-1])
    free = retriever.search(tmp_path / "new.png", k=40)
    assert not free.in_archive
    assert len(free.hits) + free.excluded_same_subject == len(cases)
    named = retriever.search(tmp_path / "new.png", k=40, subject=cases[5].subject, collection="phantom")
    assert named.excluded_same_subject == 4
    other = retriever.search(tmp_path / "new.png", k=40, subject=cases[5].subject, collection="x")
    assert other.excluded_same_subject == 0


@pytest.fixture
def anew(cases, tmp_path):
    """A photograph of the archive, brightened a little: another file of the same eye."""
    from PIL import Image

    path = tmp_path / "anew.png"
    Image.open(cases[5].path).point(lambda value: min(255, round(1.01 * value))).save(path)
    return path


def test_who_is_so_alike_that_they_may_be_the_same_is_left_out_and_counted(retriever, cases, anew):
    found = retriever.search(anew, k=40, same_subject=True)
    assert found.hits[0].case == cases[5]
    near = [hit.case for hit in found.hits if hit.similarity >= ALIKE]
    assert near
    for result in (
        retriever.search(anew, k=40),
        retriever.search(anew, k=40, by="looks"),
        retriever.search(anew, k=40, where="grade >= 0"),
    ):
        assert not {hit.case.path for hit in result.hits} & {case.path for case in near}
        assert result.excluded_same_subject == len(near)
        assert result.considered == len(cases) - len(near)
        assert all(hit.similarity < ALIKE for hit in result.hits)


def test_whose_it_is_said_to_be_is_believed_unless_it_is_doubted(archive, cases, anew):
    with Retriever.open(archive) as retriever:
        said = retriever.search(anew, k=40, subject="somebody else")
        assert said.hits[0].case == cases[5]
        retriever.doubts_subjects = lambda: True
        doubted = retriever.search(anew, k=40, subject="somebody else")
        assert doubted.hits[0].case != cases[5]
        known = retriever.search(Path(cases[5].path), k=40)  # the archive's own word
        assert known.excluded_same_subject == 3


def test_people_who_are_so_alike_are_left_out(retriever, cases, anew):
    eye = cases[5].eye
    pair = {"left": None, "right": None} | {eye: anew}
    found = retriever.search_person(pair["left"], pair["right"], 40, same_subject=True)
    assert cases[5] in found.hits[0].cases.values()
    result = retriever.search_person(pair["left"], pair["right"], 40)
    assert result.excluded_same_subject >= 1
    assert not any(cases[5] in hit.cases.values() for hit in result.hits)


def test_a_filter_holds_inside_the_search(retriever, cases):
    result = retriever.search(Path(cases[0].path), k=5, where="eye = 'left' and grade >= 1")
    fitting = [c for c in cases if c.eye == "left" and c.grade >= 1]
    fitting = [c for c in fitting if c.subject != cases[0].subject]
    assert len(result.hits) == min(5, len(fitting))
    assert result.considered == len(fitting)
    assert all(hit.case in fitting for hit in result.hits)


def test_faults_of_a_search_are_named(retriever, cases, tmp_path):
    with pytest.raises(FilterError, match="grad"):
        retriever.search(Path(cases[0].path), where="grad > 1")
    (tmp_path / "x.jpg").write_bytes(b"%PDF-1.7")
    with pytest.raises(ImageError, match="PDF"):
        retriever.search(tmp_path / "x.jpg")


@pytest.mark.parametrize(
    ("given", "kind", "sentence"),
    [
        ({"by": "zz"}, ValueError, "expected the order as one of learned, both, looks, got 'zz'"),
        ({"subject": 2626}, TypeError, "expected an identifier as text, got 2626"),
        ({"where": 5}, TypeError, "expected the condition as text, got 5"),
        ({"k": "3"}, TypeError, "expected k as a whole number, got '3'"),
        ({"k": 1.5}, TypeError, "expected k as a whole number, got 1.5"),
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"eye": "middle"}, ValueError, "expected the eye as 'left' or 'right', got 'middle'"),
    ],
)
def test_a_wrong_argument_is_told(retriever, cases, given, kind, sentence):
    with pytest.raises(kind, match=sentence):
        retriever.search(cases[0].path, **given)
    if "eye" not in given and "by" not in given:
        with pytest.raises(kind, match=sentence):
            retriever.search_person(**{"left": None, "right": None, cases[0].eye: cases[0].path}, **given)


def test_what_was_closed_says_so(archive, cases):
    opened = Retriever.open(archive)
    opened.close()
    opened.close()
    with pytest.raises(ValueError, match="was closed; open it again"):
        opened.search(cases[0].path)
    with pytest.raises(ValueError, match="was closed; open it again"):
        len(opened.archive)


def test_an_archive_can_be_searched_while_it_grows(cases, tmp_path):
    add_missing(tmp_path / "archive", cases[:8])
    with Retriever.open(tmp_path / "archive") as reader:
        assert reader.search(Path(cases[0].path), k=40, same_subject=True).considered == 7
        add_missing(tmp_path / "archive", cases)
        assert reader.search(Path(cases[0].path), k=40, same_subject=True).considered == 31


def older(archive, copy, *lacking):
    """A copy whose encoder lists no parts, and lacks some."""
    encoder = Path(shutil.copytree(archive, copy)) / "encoder"
    told = read_json(encoder / "encoder.json")
    del told["parts"]
    write_json(encoder / "encoder.json", told)
    for name in lacking:
        (encoder / name).unlink()
    return copy


def test_an_older_archive_is_given_what_its_encoder_has_now(archive, cases, tmp_path):
    copy = older(archive, tmp_path / "copy", FAMILIARITY, SEEN)
    add_missing(copy, cases)
    for name in (FAMILIARITY, SEEN):
        assert (copy / "encoder" / name).read_bytes() == (find(DEFAULT) / name).read_bytes()
    assert not list((copy / "encoder").glob(".*"))


def test_a_full_disk_leaves_an_older_archive_as_it_was(archive, cases, tmp_path, monkeypatch):
    copy = older(archive, tmp_path / "copy", SEEN)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("foveola.files.os.fsync", full)
    opened, own = open_archive(copy)
    with opened:
        assert len(opened) == len(cases)
    assert sorted(path.name for path in own.iterdir()) == sorted(
        path.name for path in (archive / "encoder").iterdir() if path.name != SEEN
    )


def test_an_encoder_of_one_s_own_is_given_nothing(cases, tmp_path):
    """Of the same name as the shipped one and with other weights."""
    shutil.copytree(find(DEFAULT), tmp_path / "own")
    release = read_release(tmp_path / "own")
    for name in (FAMILIARITY, SEEN):
        (tmp_path / "own" / name).unlink()
    with (tmp_path / "own" / "model.bin").open("r+b") as weights:
        weights.seek(4000)
        weights.write(bytes(1))
    write_release(
        tmp_path / "own", name=release.name, dimension=release.dimension, contract=release.contract, card=release.card
    )
    add_missing(tmp_path / "A", cases[:2], tmp_path / "own")
    add_missing(tmp_path / "A", cases[:2])
    assert not any((tmp_path / "A" / "encoder" / name).exists() for name in (FAMILIARITY, SEEN))


def test_assessing_tells_what_the_encoder_was_trained_on(archive, cases, tmp_path):
    copy = Path(shutil.copytree(archive, tmp_path / "copy"))
    Seen.of_files(Path(case.path) for case in cases[2:6]).save(copy / "encoder")
    assert assess(copy, label="sex", bootstrap=0).trained == (4, 4, 32, 32)
    assert assess(copy, cases[:5], label="sex", bootstrap=0).trained == (3, 4, 5, 32)
    (copy / "encoder" / SEEN).unlink()
    assert assess(copy, label="sex", bootstrap=0).trained is None


def test_assessing_leave_one_out_and_with_other_queries(archive, cases):
    inside = assess(archive, label="sex", bootstrap=0)
    assert inside.evaluation.queries == len(cases)
    assert inside.phantom
    # each of 32 photographs leaves out the three others of its subject
    assert inside.evaluation.to_dict()["excluded_same_subject"]["pairs"] == 32 * 3
    outside = assess(archive, cases[:6], label="sex", bootstrap=0)
    assert outside.evaluation.queries == 6
    assert outside.evaluation.to_dict()["excluded_same_subject"]["pairs"] == 6 * 4


def test_assessing_by_split_files_asks_and_ranks_what_they_say(archive, cases, tmp_path):
    # every photograph but one asks or is ranked, in any order; grades are the archive's own
    chosen = [cases[i] for i in np.random.default_rng(1).permutation(32)[:31]]
    names = [Path(case.image).stem for case in chosen]
    bounds = {"train": (0, 20), "val": (20, 24), "test": (24, 31)}
    for part, (start, end) in bounds.items():
        lines = [
            " ".join([name, *(str(int(case.grade == g)) for g in range(5))])
            for name, case in zip(names[start:end], chosen[start:end], strict=True)
        ]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines))
    split = SplitFiles.read(tmp_path)
    done = assess(archive, split=split, exclude="none", by=("camera",), bootstrap=0)
    assert (done.evaluation.queries, done.evaluation.gallery, done.left_out) == (7, 24, 1)
    with Archive.open(archive, read_only=True) as opened:
        _, vectors = opened.vectors()
        stored = [case for _, case in opened.cases()]
    vector = {Path(case.image).stem: row for case, row in zip(stored, vectors, strict=True)}
    grade = {Path(case.image).stem: case.grade for case in stored}
    nearest = [max(names[:24], key=lambda g: vector[g] @ vector[q]) for q in names[24:31]]
    right = [grade[g] == grade[q] for g, q in zip(nearest, names[24:31], strict=True)]
    assert done.evaluation.metrics["mHR@1"].value.micro == pytest.approx(np.mean(right))
    assert list(done.gallery.columns) == ["camera"]
    assert done.phantom
    with pytest.raises(ValueError, match="either queries or a split"):
        assess(archive, cases, split=split)


def test_a_column_that_only_queries_have_splits_the_result_but_not_the_gallery(archive, cases):
    asked = [replace(case, extra={**case.extra, "ward": "A"}) for case in cases[:4]]
    done = assess(archive, asked, by=("ward", "camera"), bootstrap=0)
    assert list(done.evaluation.subgroups) == ["ward", "camera"]
    assert list(done.gallery.columns) == ["camera"]


def test_a_query_that_cannot_be_read_is_reported_and_not_counted(archive, cases, tmp_path):
    bad = Case(image="bad.jpg", path=str(tmp_path / "bad.jpg"), grade=0)
    done = assess(archive, [*cases[:3], bad], label="grade", bootstrap=0)
    assert [failed.case.image for failed in done.failed] == ["bad.jpg"]
    assert done.evaluation.queries == 3


def test_an_empty_archive_cannot_be_assessed(tmp_path):
    archive, _ = open_archive(tmp_path / "archive")
    archive.close()
    with pytest.raises(ArchiveError, match="is empty; index photographs into it first"):
        assess(tmp_path / "archive")


def test_what_similarities_are_worth_is_read_again_when_the_archive_was_changed(cases, tmp_path, monkeypatch):
    add_missing(tmp_path / "archive", cases)  # eight people are too few to say anything
    with Retriever.open(tmp_path / "archive") as opened:
        asked = Path(cases[0].path)
        assert opened.search(asked).hits[0].trust is None
        monkeypatch.setattr("foveola.trust.calibration.LEAST", 2)
        with Archive.open(tmp_path / "archive") as writer:
            calibrate(writer)
        known = opened.search(asked)
        assert known.hits[0].trust is not None
        assert known.trust.threshold is not None
        (tmp_path / "archive" / TRUST).unlink()
        assert opened.search(asked).hits[0].trust is None
