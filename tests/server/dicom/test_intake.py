"""From a DICOM file to a case: de-identified, durable, never twice."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from pydicom.uid import JPEGBaseline8Bit

from commands import foveola
from dicoms import colours, encapsulated, header, to_bytes, with_pixels
from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.errors import ImageError, PacsError
from foveola.images.decode import decode
from foveola.server.dicom.intake import Intake, Refused
from foveola.server.dicom.pseudonyms import forget_patient

MARK = "Mustermann"


@pytest.fixture(scope="module")
def photographs(phantoms):
    """Six phantoms as pixels."""
    cases = list(Manifest.read(phantoms).cases())[:6]
    return [decode(Path(case.path)) for case in cases]


@pytest.fixture(scope="module")
def intake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intake")
    with Intake(folder / "A", folder / "store", folder / "names.db") as made:
        yield made


def visit(pixels, patient, day, **more):
    return to_bytes(with_pixels(pixels, PatientID=patient, AcquisitionDateTime=None, StudyDate=day, **more))


def test_a_photograph_becomes_a_case(intake, photographs):
    data = visit(photographs[0], "a", "20200101", Manufacturer="Topcon")
    taken = intake.take(data)
    (id_,) = taken.ids
    case = intake.archive.case(id_)
    assert taken.new
    assert (case.subject, case.eye, case.collection) == (taken.pseudonym, "left", "pacs")
    assert (case.grade, case.findings, case.extra) == (None, None, {"camera": "Topcon"})
    assert Path(case.path).stem == taken.sop_instance_uid
    assert (decode(Path(case.path)) == photographs[0]).all()
    original = intake.pseudonyms.originals([taken.sop_instance_uid])[taken.sop_instance_uid]
    assert (original.patient_id, original.frame) == ("a", 1)


def test_the_same_object_is_not_taken_twice(intake, photographs):
    data = visit(photographs[1], "b", "20200101")
    first, second = intake.take_many([data, data])
    third = intake.take(data)
    assert (first.new, second.new, third.new) == (True, False, False)
    assert first.ids == second.ids == third.ids
    cases = [case for _, case in intake.archive.cases() if case.subject == first.pseudonym]
    assert len(cases) == 1


def test_two_visits_keep_their_interval_and_their_person(intake, photographs):
    import datetime

    days = ("20200101", "20210101")  # 366 days, as 2020 has a 29th of February
    taken = [intake.take(visit(photographs[2], "c", day)) for day in days]
    assert taken[0].pseudonym == taken[1].pseudonym
    cases = [intake.archive.case(one.ids[0]) for one in taken]
    first, second = (datetime.date.fromisoformat(case.visit) for case in cases)
    assert (second - first).days == 366
    assert first < datetime.date(2019, 1, 1)


def test_each_frame_is_a_case(intake, photographs):
    streams = [simplejpeg.encode_jpeg(one, 95) for one in photographs[3:6]]
    made = encapsulated(np.stack(photographs[3:6]), streams, "YBR_FULL_422", frames=3)
    taken = intake.take(to_bytes(made, JPEGBaseline8Bit))
    assert len(taken.ids) == len(set(taken.sop_instance_uids)) == 3
    for id_, uid, stream in zip(taken.ids, taken.sop_instance_uids, streams, strict=True):
        case = intake.archive.case(id_)
        assert Path(case.path).stem == uid
        assert (decode(Path(case.path)) == decode(stream)).all()


def test_what_can_not_be_used_leaves_nothing(intake, photographs, caplog):
    caplog.set_level(logging.DEBUG)
    good = visit(photographs[4], "d", "20200101")
    jpeg = simplejpeg.encode_jpeg(photographs[5])
    broken = encapsulated(photographs[5], [jpeg[:-500] + b"\xff\xd9"], "YBR_FULL_422", PatientName=MARK)
    files, cases = len(list(intake.store.rglob("*.*"))), len(intake.archive)
    results = intake.take_many(
        [
            b"junk",
            good[:700],
            to_bytes(header("1.2.840.10008.5.1.4.1.1.2", PatientName=MARK)),
            to_bytes(broken, JPEGBaseline8Bit),
        ]
    )
    assert all(isinstance(result, Refused) for result in results)
    assert MARK not in repr(results) + caplog.text
    assert len(list(intake.store.rglob("*.*"))) == files
    assert len(intake.archive) == cases
    assert intake.pseudonyms.unfinished() == []
    with pytest.raises(ImageError, match="'DICM' is missing"):
        intake.take(b"junk")


def test_what_was_removed_from_the_archive_can_come_again(intake, photographs):
    data = visit(photographs[5], "e", "20200101")
    first = intake.take(data)
    intake.archive.remove(subject=first.pseudonym)
    assert intake.recover() == 0  # a removal is not undone
    assert intake.archive.find(path=str(intake.store / first.pseudonym)) is None
    again = intake.take(data)
    assert again.new
    assert again.sop_instance_uid == first.sop_instance_uid


def test_a_patient_can_be_forgotten(intake, photographs):
    data = visit(photographs[1], MARK, "20200101")
    taken = intake.take(data)
    assert MARK.encode() in intake.pseudonyms.path.read_bytes()
    intake.archive.remove(subject=taken.pseudonym)
    gone = forget_patient(intake.store, intake.pseudonyms, taken.pseudonym)
    assert (gone.files, gone.instances) == (1, 1)
    assert not (intake.store / taken.pseudonym).exists()
    assert MARK.encode() not in intake.pseudonyms.path.read_bytes()
    assert forget_patient(intake.store, intake.pseudonyms, taken.pseudonym).files == 0
    assert intake.take(data).pseudonym != taken.pseudonym


@pytest.mark.parametrize("name", ["..", "../A", "", "1042", "P/BCDFGHJKLMN"])
def test_what_is_no_pseudonym_is_not_made_a_path(intake, name):
    with pytest.raises(PacsError, match="did not come from a PACS"):
        forget_patient(intake.store, intake.pseudonyms, name)


def test_the_archive_must_not_hold_store_or_pseudonyms(tmp_path):
    with pytest.raises(PacsError, match="name a file outside"):
        Intake(tmp_path / "A", tmp_path / "store", tmp_path / "A" / "names.db")
    with pytest.raises(PacsError, match="name a folder outside"):
        Intake(tmp_path / "A", tmp_path / "A" / "store", tmp_path / "names.db")


KILLED = Path(__file__).with_name("killed_intake.py")


@pytest.mark.parametrize(("step", "recovered"), [("reserved", 0), ("half written", 0), ("stored", 1), ("indexed", 1)])
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(step, recovered, photographs, tmp_path):
    data = visit(photographs[0], "f", "20200101")
    (tmp_path / "object.dcm").write_bytes(data)
    command = [sys.executable, str(KILLED), str(tmp_path), step]
    assert subprocess.run(command, timeout=200, capture_output=True, check=False).returncode == -9
    with Intake(tmp_path / "A", tmp_path / "store", tmp_path / "names.db") as intake:
        assert intake.recover() == recovered
        assert intake.recover() == 0
        assert intake.take(data).new == (recovered == 0)
        assert intake.pseudonyms.unfinished() == []
        assert len(intake.archive) == 1
    assert len([path for path in (tmp_path / "store").rglob("*") if path.is_file()]) == 1


# --- foveola index dicom://FOLDER ---


@pytest.fixture(scope="module")
def export(photographs, tmp_path_factory):
    """A disc as a clinic burns it: names everywhere, and more than photographs."""
    folder = tmp_path_factory.mktemp("export")
    inner = folder / f"{MARK}^Erika" / "20200101"
    inner.mkdir(parents=True)
    for n, pixels in enumerate(photographs[:3]):
        made = with_pixels(
            pixels, PatientName=f"{MARK}^Erika", PatientID=MARK, StudyDescription=MARK, SeriesDescription=MARK
        )
        (inner / f"{MARK}{n}").write_bytes(to_bytes(made))
    bad = header("1.2.840.10008.5.1.4.1.1.104.1", PatientName=MARK)
    (inner / f"{MARK}.pdf.dcm").write_bytes(to_bytes(bad))
    (inner / f"{MARK}.cut").write_bytes(to_bytes(with_pixels(colours(), PatientID=MARK))[:900])
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / f"{MARK}.txt").write_text(MARK)
    return folder


def test_a_folder_is_indexed_and_no_name_is_told_or_kept(export, photographs, tmp_path):
    done = foveola("index", tmp_path / "A", f"dicom://{export}", code=3)
    assert "3 cases; 3 DICOM images added, 0 there already, 2 could not be used, 1 other" in done.stdout
    assert "1 x SOPClassUID (0008,0016) is Encapsulated PDF Storage" in done.stderr
    assert MARK not in done.stdout + done.stderr
    again = foveola("index", tmp_path / "A", f"dicom://{export}", "--json", code=3)
    assert '"added": 0, "unchanged": 3' in again.stdout
    assert MARK not in again.stdout + again.stderr
    with Archive.open(tmp_path / "A", read_only=True) as archive:
        assert len({case.subject for _, case in archive.cases()}) == 1
    names = tmp_path / "A.pacs" / "pseudonyms.sqlite"
    assert MARK.encode() in names.read_bytes()  # the one place
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and holds_mark(path)]
    assert holding == [names]
    assert not any(MARK in str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))

    query = tmp_path / "query.dcm"
    shutil.copy(next((export / f"{MARK}^Erika").rglob(f"{MARK}0")), query)
    found = foveola("search", tmp_path / "A", query, "-k", 1, "--same-subject")
    assert "+1.0000" in found.stdout
    assert MARK not in found.stdout + found.stderr
    unnamed = foveola("search", tmp_path / "A", query, "-k", 1)
    assert "1 left out, so alike that they may be of one person" in unnamed.stderr
    assert MARK not in unnamed.stdout + unnamed.stderr


def holds_mark(path):
    return MARK.lower().encode() in path.read_bytes().lower()


def test_dicom_named_wrongly_is_told(export, tmp_path):
    file = next(path for path in export.rglob("*0") if path.is_file())
    said = foveola("index", tmp_path / "A", file, code=1).stderr
    assert "name its folder as dicom://FOLDER" in said
    said = foveola("index", tmp_path / "A", f"dicom://{tmp_path}/none", code=1).stderr
    assert "is not a folder; expected dicom:// and a folder" in said
    said = foveola("index", tmp_path / "A", f"dicom://{export}", tmp_path, code=2).stderr
    assert "either dicom:// folders or photographs" in said
    assert not (tmp_path / "A").exists()


def test_dark_photographs_of_a_folder_are_counted_and_two_eyes_in_one_refused(photographs, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    both = np.concatenate([photographs[0], photographs[1]], axis=1)
    for n, pixels in enumerate((photographs[0], photographs[1] // 12, both)):
        (folder / f"{n}.dcm").write_bytes(to_bytes(with_pixels(pixels)))
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden").touch()
    done = foveola("index", tmp_path / "A", f"dicom://{folder}", code=3)
    assert "1 other files passed over" in done.stdout
    assert "passed over: 1 hidden file or folder\n" in done.stderr
    assert "1 of the 2 added may be too dark, blurred or hazy to be graded" in done.stderr
    assert "1 x this picture shows two fields of view or more" in done.stderr
    said = foveola("index", tmp_path / "B", f"dicom://{folder}", "--json", code=3).stdout
    assert '"may_not_be_gradable": 1' in said
    assert '"passed_over": {"hidden files and folders": 1}' in said
    assert '"not_dicom": 1' in said
