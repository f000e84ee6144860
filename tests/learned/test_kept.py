"""What an archive learnt, kept beside it: whole or not at all, and of the archive as it is."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from hashlib import blake2b

import numpy as np
import pytest

import foveola.learned as module
from foveola.archive import Archive
from foveola.errors import ArchiveError
from foveola.learned import RELEVANCE, is_current, label_table, learn_archive, load_learned, refresh
from foveola.relevance.learn import LEAST_PEOPLE
from foveola.trust import Seen
from learned.made import MADE_BY, archive_of, direction, entries, entry


@pytest.fixture
def archive(tmp_path):
    with archive_of(tmp_path / "A", entries()) as opened:
        yield opened


def bits(relevance):
    """Everything of it, as bytes."""
    told = relevance.calibrated
    every = [a for one in (relevance.linear, *relevance.apart) for a in (one.weights, one.bias)]
    every += [a for one in (told.even, told.natural) for a in (one.slope, one.shift)]
    curve = told.curve and tuple(getattr(told.curve, f.name) for f in fields(told.curve))
    return (
        [(a.dtype, a.shape, a.tobytes()) for a in [*every, relevance.fold]],
        curve,
        told.people,
        told.new,
        relevance.label,
        relevance.values,
        relevance.link,
        relevance.cases,
    )


def same(one, other):
    assert list(one.labels) == list(other.labels)
    for label, relevance in one.labels.items():
        assert bits(relevance) == bits(other.labels[label])
    assert one.refused == other.refused
    return True


# Made and read again


def test_what_is_kept_is_what_was_learnt(archive):
    made = learn_archive(archive, ["dme"])
    assert list(made.labels) == ["grade", "findings", "dme"]
    kept = load_learned(archive)
    assert same(made, kept)
    assert kept.ids.tolist() == made.ids.tolist() == archive.vectors()[0].tolist()
    assert (kept.fingerprint, kept.fitted_on) == (archive.fingerprint, made.fitted_on)
    assert kept.columns == ("dme",)


def test_the_label_of_most_cases_comes_first(tmp_path):
    cases = entries(40)
    few = [replace(e, case=replace(e.case, grade=None)) for e in cases[:20]] + cases[20:]
    with archive_of(tmp_path / "A", few) as archive:
        assert list(learn_archive(archive).labels) == ["findings", "grade"]


def test_the_file_is_the_same_on_every_run(archive):
    learn_archive(archive)
    first = (archive.folder / RELEVANCE).read_bytes()
    learn_archive(archive)
    assert (archive.folder / RELEVANCE).read_bytes() == first


def test_no_name_of_a_person_or_a_file_is_in_it(tmp_path):
    rng = np.random.default_rng(0)
    cases = entries()
    secret = [
        entry(
            f"Zebedaeus_{i}.jpg",
            direction(rng, i % 3),
            subject=f"Hieronymus{i}",
            collection="Wartburg",
            grade=i % 3,
            extra={"dme": "no"},
        )
        for i in range(30)
    ]
    with archive_of(tmp_path / "A", cases + secret) as archive:
        learn_archive(archive, ["dme"])
        data = (archive.folder / RELEVANCE).read_bytes()
    for name in (b"Zebedaeus", b"Hieronymus", b"Wartburg", b"/data", b".jpg", b"s12"):
        assert name not in data
    assert b"pickle" not in data
    assert np.load(io.BytesIO(data.partition(b"\n")[2]), allow_pickle=False)


def test_an_archive_opened_for_reading_keeps_nothing(archive):
    with Archive.open(archive.folder, read_only=True) as reader:
        assert "grade" in learn_archive(reader).labels
    assert not (archive.folder / RELEVANCE).exists()
    assert load_learned(archive) is None


def test_an_archive_without_cases_or_labels_learns_nothing(tmp_path):
    with Archive.create(tmp_path / "A", **MADE_BY) as archive:
        made = learn_archive(archive)
        assert (dict(made.labels), dict(made.refused)) == ({}, {})
        archive.add(entries(10, unlabelled=10))
        assert not learn_archive(archive).labels
        assert same(load_learned(archive), learn_archive(archive))


def test_too_few_labels_are_refused_in_a_sentence(tmp_path):
    with archive_of(tmp_path / "A", entries(LEAST_PEOPLE)) as archive:
        made = learn_archive(archive)
    assert not made.labels
    assert "record more labels" in made.refused["grade"]
    assert made.refused["findings"].startswith("findings: 12 cases have one")


# Damage


def damaged(archive, data):
    (archive.folder / RELEVANCE).write_bytes(data)
    return load_learned(archive) is None


def test_a_byte_changed_anywhere_or_an_end_cut_off_is_noticed(archive):
    learn_archive(archive)
    data = (archive.folder / RELEVANCE).read_bytes()
    places = {*range(60), *range(0, len(data), 997), *range(len(data) - 30, len(data))}
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        assert damaged(archive, bytes(changed)), place
    for end in {0, 1, 19, 20, 52, 53, 54, len(data) // 2, len(data) - 1}:
        assert damaged(archive, data[:end]), end
    assert damaged(archive, data + b"\0")
    assert not damaged(archive, data)


def rewritten(archive, change):
    """The file with other content under a right checksum, as another version might write it."""
    data = (archive.folder / RELEVANCE).read_bytes()
    with np.load(io.BytesIO(data.partition(b"\n")[2])) as kept:
        arrays = dict(kept)
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    rest = buffer.getvalue()
    checksum = blake2b(rest, digest_size=16).hexdigest().encode()
    (archive.folder / RELEVANCE).write_bytes(b"foveola relevance 1 " + checksum + b"\n" + rest)


def about_with(**more):
    def change(arrays):
        about = json.loads(arrays["about"].tobytes()) | more
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("0.weights"),
        lambda arrays: arrays.pop("ids"),
        lambda arrays: arrays.pop("about"),
        lambda arrays: arrays.update({"0.bias": arrays["0.bias"][:2]}),
        lambda arrays: arrays.update(about=np.frombuffer(b"[]", np.uint8)),
        lambda arrays: arrays.update(about=np.frombuffer(b"{", np.uint8)),
        about_with(labels=3),
        about_with(labels=[{}]),
    ],
)
def test_content_of_another_kind_is_no_fault(archive, change):
    learn_archive(archive)
    rewritten(archive, lambda arrays: None)
    assert load_learned(archive) is not None
    rewritten(archive, change)
    assert load_learned(archive) is None


def test_objects_are_never_unpickled(archive):
    learn_archive(archive)
    rewritten(archive, lambda arrays: arrays.update(ids=np.array([print], object)))
    assert load_learned(archive) is None


def test_a_newer_format_is_left_alone(archive):
    learn_archive(archive)
    path = archive.folder / RELEVANCE
    path.write_bytes(path.read_bytes().replace(b"relevance 1 ", b"relevance 2 ", 1))
    assert load_learned(archive) is None


def test_what_another_encoder_s_archive_learnt_is_not_taken(archive, tmp_path):
    learn_archive(archive)
    with Archive.create(tmp_path / "B", **MADE_BY | {"fingerprint": "beef"}) as other:
        (other.folder / RELEVANCE).write_bytes((archive.folder / RELEVANCE).read_bytes())
        assert load_learned(other) is None


# Whole or not at all


def test_a_full_disk_leaves_what_was_there(archive, monkeypatch):
    made = learn_archive(archive)
    archive.add(entries(70)[120:])

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveError, match=r"relevance\.bin can't be written: No space left"):
        learn_archive(archive)
    assert same(made, load_learned(archive))
    assert not list(archive.folder.glob(f".{RELEVANCE}*"))


def test_an_interrupt_leaves_what_was_there(archive, monkeypatch):
    made = learn_archive(archive)

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn_archive(archive)
    assert same(made, load_learned(archive))
    assert not list(archive.folder.glob(f".{RELEVANCE}*"))


def test_a_kill_leaves_what_was_there_and_its_remains_go_with_the_next(archive):
    made = learn_archive(archive)
    before = (archive.folder / RELEVANCE).read_bytes()
    script = (
        "import os, signal, sys; from pathlib import Path; from foveola.archive import Archive\n"
        "from foveola.learned import learn_archive\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "learn_archive(Archive.open(Path(sys.argv[1])))\n"
    )
    archive.close()
    done = subprocess.run([sys.executable, "-c", script, str(archive.folder)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert list(archive.folder.glob(f".{RELEVANCE}.*"))  # killed while it wrote
    with Archive.open(archive.folder) as again:
        assert (again.folder / RELEVANCE).read_bytes() == before
        assert same(made, load_learned(again))
        learn_archive(again)
    assert not list(archive.folder.glob(f".{RELEVANCE}.*"))


def test_what_a_living_process_writes_is_left_to_it(archive):
    writing = archive.folder / f".{RELEVANCE}.{os.getppid()}"
    writing.write_bytes(b"half")
    learn_archive(archive)
    assert writing.exists()


def test_a_folder_that_is_gone_is_said(archive):
    made = learn_archive(archive)
    with pytest.raises(ArchiveError, match="can't be written: No such file"):
        module.save(made, archive.folder / "nowhere")


# Forgetting


@pytest.mark.parametrize("gone", ["s0", "s17", "s59"])
def test_a_removed_person_leaves_what_an_archive_without_them_learns(tmp_path, gone):
    """To the last bit: weights, folds, calibration, curve, and the hash of what was learnt from."""
    cases = entries()
    rare = [replace(e, case=replace(e.case, findings=frozenset("X"))) if e.case.subject == gone else e for e in cases]
    with archive_of(tmp_path / "A", rare) as archive:
        before = learn_archive(archive, ["dme"])
        archive.remove(subject=gone)
        after = refresh(archive)
    with archive_of(tmp_path / "B", [e for e in cases if e.case.subject != gone]) as fresh:
        never = learn_archive(fresh, ["dme"])
    assert same(after, never)
    assert after.fitted_on == never.fitted_on
    assert list(after.labels) == ["grade", "findings", "dme"]
    for label in ("grade", "findings"):
        assert bits(before.labels[label]) != bits(after.labels[label])


def test_people_are_counted_by_collection_and_each_unknown_one_alone(tmp_path):
    rng = np.random.default_rng(0)
    said = [("a", "x"), ("a", "y"), (None, "x"), ("a", "x"), (None, "x")]
    cases = [
        entry(f"{i}.jpg", direction(rng), subject=subject, collection=collection)
        for i, (subject, collection) in enumerate(said)
    ]
    with archive_of(tmp_path / "A", cases) as archive, archive.state() as state:
        assert state.people().tolist() == [0, 1, 2, 0, 3]


def test_an_archive_of_nobody_known_learns_of_each_photograph_alone(tmp_path):
    unknown = [replace(e, case=replace(e.case, subject=None)) for e in entries()]
    with archive_of(tmp_path / "A", unknown) as archive:
        assert learn_archive(archive).labels["grade"].calibrated.people == len(unknown)


# Columns


def test_a_column_s_values_are_its_text(tmp_path):
    rng = np.random.default_rng(0)
    values = [2.0, 2, "2", True, "yes", None, "é"]
    cases = [
        entry(f"{i}.jpg", direction(rng), extra={} if value is None else {"n": value}) for i, value in enumerate(values)
    ]
    with archive_of(tmp_path / "A", cases) as archive, archive.state() as state:
        table = label_table(state, "n")
        recorded = [
            table.values[row.argmax()] if known else None for row, known in zip(table.members, table.known, strict=True)
        ]
    assert recorded == ["2.0", "2", "2", "1", "yes", None, "é"]


def test_a_column_with_odd_values_is_learnt(tmp_path):
    odd = {0: "0", 1: "a;b \"'\n", 2: "\u202eé" * 20}
    cases = [replace(e, case=replace(e.case, extra={"grade of DR, %": odd[e.case.grade]})) for e in entries()]
    with archive_of(tmp_path / "A", cases) as archive:
        made = learn_archive(archive, ["grade of DR, %"])
        assert set(made.labels["grade of DR, %"].values) == set(odd.values())
        assert same(made, load_learned(archive))


def test_grade_as_a_column_is_the_grade_and_is_learnt_once(archive, monkeypatch):
    taught = []
    real = module.learn
    monkeypatch.setattr(module, "learn", lambda *of, **more: taught.append(1) or real(*of, **more))
    made = learn_archive(archive, ["grade", "findings"])
    assert (made.columns, len(taught)) == ((), 2)
    assert same(made, learn_archive(archive))


def test_only_some_values_of_a_column_can_be_asked_for(archive):
    with archive.state() as state:
        whole, some = label_table(state, "ward"), label_table(state, "ward", ("W1", "W9"))
    assert (whole.values, some.values) == (("W0", "W1"), ("W1",))
    assert some.known.tolist() == whole.members[:, 1].tolist()


def test_a_column_that_names_cases_is_refused_before_and_after(archive):
    rng = np.random.default_rng(0)
    learn_archive(archive, ["dme"])
    many = [entry(f"many{i}.jpg", direction(rng), extra={"dme": f"value {i}"}) for i in range(60)]
    archive.add(many)
    made = refresh(archive)  # an index ends, though the column is no label any more
    assert list(made.labels) == ["grade", "findings"]
    assert "has 62 different values" in made.refused["dme"]
    assert made.columns == ("dme",)
    (archive.folder / RELEVANCE).unlink()
    with pytest.raises(ArchiveError, match="different values; expected at most 50"):
        learn_archive(archive, ["dme"])
    archive.remove(ids=[id_ for id_, case in archive.cases() if case.image.startswith("many")])
    archive.folder.joinpath(RELEVANCE).unlink(missing_ok=True)
    assert "dme" in learn_archive(archive, ["dme"]).labels


# Anew where something changed


def changes():
    rng = np.random.default_rng(0)
    one = entries()[3]
    other = replace(one.case, grade=(one.case.grade + 1) % 3)

    def seen(archive):
        archive.encoder_folder.mkdir(exist_ok=True)
        Seen.of([one.digest]).save(archive.encoder_folder)

    return {
        "a case more": lambda a: a.add([entry("new.jpg", direction(rng), grade=1)]),
        "a case less": lambda a: a.remove(image="3_left.jpg"),
        "another label": lambda a: a.update_records([other]),
        "no label": lambda a: a.update_records([replace(one.case, grade=None)]),
        "another person": lambda a: a.update_records([replace(one.case, subject="s40")]),
        "another photograph": lambda a: a.add([replace(one, descriptor=direction(rng, 5))]),
        "what was seen": seen,
    }


@pytest.mark.parametrize("name", changes())
def test_after_a_change_nothing_is_current_and_a_refresh_mends_it(archive, name):
    made = refresh(archive)
    assert is_current(made, archive)
    changes()[name](archive)
    assert not is_current(made, archive)
    again = refresh(archive, changed=False)  # as after a kill between the change and the learning
    assert again.fitted_on != made.fitted_on
    assert is_current(load_learned(archive), archive)


def test_without_a_change_nothing_is_learnt_again(archive, monkeypatch):
    made = refresh(archive)

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(module, "learn", never)
    assert same(refresh(archive, changed=False), made)
    assert not is_current(None, archive)


def test_seen_photographs_are_told_to_the_fit(archive):
    archive.encoder_folder.mkdir(exist_ok=True)
    Seen.of([e.digest for e in entries()[:10]]).save(archive.encoder_folder)
    assert not learn_archive(archive).labels["grade"].calibrated.new
    Seen.of([b"another file's"]).save(archive.encoder_folder)
    assert learn_archive(archive).labels["grade"].calibrated.new
