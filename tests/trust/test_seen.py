"""What an encoder was trained on, and an archive of it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from foveola.archive import Archive
from foveola.errors import EncoderError
from foveola.trust import SEEN, TRUST, Seen, calibrate, judge_answer, load, refresh
from foveola.trust.sample import ENOUGH
from trust.test_calibration import RETINA, D, entries


def digest(text):
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def trained_on(archive, made):
    """Put a mark of these entries beside the archive's encoder."""
    archive.encoder_folder.mkdir(exist_ok=True)
    Seen.of(e.digest for e in made).save(archive.encoder_folder)


def moved(made, grade_of):
    """The same, as an encoder says that knows their labels: exactly where their grade lies."""
    found = []
    for e in made:
        vector = np.zeros(D, np.float32)
        vector[grade_of(e)] = 1
        found.append(replace(e, descriptor=vector))
    return found


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "A"
    with Archive.create(folder, encoder="toy", fingerprint="f00d", dimension=D) as opened:
        yield opened


def test_marks_are_of_the_content(tmp_path):
    for name, content in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / name).write_text(content)
    seen = Seen.of_files([tmp_path / "a", tmp_path / "c", tmp_path / "gone"])
    assert len(seen.marks) == 1
    assert seen.among([digest("two"), digest("one")]).tolist() == [False, True]
    # the first eight bytes of the digest, the greatest first
    assert seen.marks[0] == int(digest("one").hex()[:16], 16)


def test_they_are_kept_and_read_again(tmp_path):
    seen = Seen.of(map(digest, "cab"))
    seen.save(tmp_path)
    assert (Seen.load(tmp_path).marks == seen.marks).all()
    assert (np.diff(seen.marks.astype(object)) > 0).all()
    Seen.of([]).save(tmp_path)
    assert not Seen.load(tmp_path).among([digest("a")]).any()


@pytest.mark.parametrize("spoilt", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_spoilt_file_is_told(tmp_path, spoilt):
    assert Seen.load(tmp_path) is None
    (tmp_path / SEEN).write_bytes(spoilt)
    with pytest.raises(EncoderError, match="is damaged"):
        Seen.load(tmp_path)
    np.save(tmp_path / SEEN, np.zeros((2, 2)))
    with pytest.raises(EncoderError, match="is damaged"):
        Seen.load(tmp_path)


def test_an_archive_of_the_encoder_s_own_photographs_says_so(archive):
    made = entries()
    archive.add(made)
    assert calibrate(archive).trained is None
    trained_on(archive, made[: len(made) // 4])
    learnt = calibrate(archive)
    assert (learnt.trained, learnt.new) == (0.25, False)  # there are not ENOUGH others
    assert judge_answer(learnt, RETINA, 0.9, None).trained == 0.25
    assert load(archive) == learnt


def test_a_calibration_from_before_the_marks_is_made_anew(archive):
    made = entries()
    archive.add(made)
    refresh(archive)
    assert load(archive).trained is None
    trained_on(archive, made[:12])
    refresh(archive, changed=False)
    assert load(archive).trained == 0.1
    before = (archive.folder / TRUST).stat().st_mtime_ns
    refresh(archive, changed=False)
    assert (archive.folder / TRUST).stat().st_mtime_ns == before


def test_photographs_it_has_not_seen_are_none_of_its_own(archive):
    archive.add(entries())
    trained_on(archive, [])
    learnt = calibrate(archive)
    assert (learnt.trained, learnt.new) == (0.0, True)
    assert judge_answer(learnt, RETINA, None, None).trained is None


def test_people_it_does_not_know_are_asked_about_where_there_are_enough(archive):
    """Known people lie where their grade is, others anywhere: of these one hit in three agrees."""
    made, rng = entries(people=2 * ENOUGH), np.random.default_rng(1)
    known = moved(made[: 2 * ENOUGH], lambda e: e.case.grade)
    archive.add(known + moved(made[2 * ENOUGH :], lambda _: rng.integers(3)))
    before = calibrate(archive)
    trained_on(archive, known[::2])  # one eye each is enough to know a person
    learnt = calibrate(archive)
    assert (before.people, learnt.people) == (2 * ENOUGH, ENOUGH)
    assert (learnt.trained, learnt.new) == (0.25, True)
    assert judge_answer(learnt, RETINA, None, None).trained is None
    pairs = np.array([c.pairs for c in learnt.curves.values()])
    assert learnt.curves["*"].pairs == pairs.max() == 10 * ENOUGH
    case = known[0].case
    assert learnt.hit(1.0, case).agreement.value < 0.5 < before.hit(1.0, case).agreement.value


def test_new_people_without_a_label_teach_nothing_of_labels(archive):
    made = entries(people=3 * ENOUGH)
    bare = [replace(e, case=replace(e.case, grade=None)) for e in made[2 * ENOUGH :]]
    archive.add(made[: 2 * ENOUGH] + bare)
    trained_on(archive, made[: 2 * ENOUGH])
    learnt = calibrate(archive)
    assert (learnt.people, learnt.new) == (3 * ENOUGH, False)
    assert learnt.hit(0.9, made[0].case).agreement is not None


def test_without_any_label_new_people_are_asked_about(archive):
    made = [replace(e, case=replace(e.case, grade=None)) for e in entries(people=2 * ENOUGH)]
    archive.add(made)
    trained_on(archive, made[: 2 * ENOUGH])
    learnt = calibrate(archive)
    assert (learnt.people, learnt.new) == (ENOUGH, True)


def test_one_person_too_few_and_all_are_asked_about(archive):
    made = entries(people=2 * ENOUGH)
    archive.add(made)
    trained_on(archive, made[: 2 * ENOUGH + 2 : 2])  # of one person more than half
    learnt = calibrate(archive)
    assert (learnt.people, learnt.new) == (2 * ENOUGH, False)
