"""Two people under one Patient ID, and two pictures under one SOP Instance UID, are told."""

import datetime
import json
import sqlite3
from urllib.request import Request, urlopen

import numpy as np
import pytest
import simplejpeg
from pydicom.uid import JPEGBaseline8Bit, generate_uid

import orthanc as orthancs
from commands import foveola
from dicoms import encapsulated, to_bytes, with_pixels
from foveola.archive import Archive
from foveola.errors import ImageError
from foveola.server.dicom.intake import OTHER_PICTURE, Intake, Refused
from foveola.server.dicom.patients import ALIKE, APART, OTHER_PATIENT, UNCLEAR, Identity, Marks, choose, marks_of
from foveola.server.dicom.pseudonyms import Pseudonyms
from foveola.server.dicom.spool import Spool, Worker

BORN, LATER = datetime.date(1950, 6, 7), datetime.date(1961, 2, 3)
DOE, ROE = marks_of("Doe^Jane", BORN), marks_of("Roe^Richard", LATER)


@pytest.mark.parametrize(
    "name", ["DOE^JANE", "Doe^Jane^^^", "Doe, Jane", " Doe^Jane", "Doe Jane", "Doe^Jane=\u5c71\u7530^\u592a\u90ce"]
)
def test_a_name_is_compared_without_its_case_and_separators(name):
    assert marks_of(name, BORN) == DOE


@pytest.mark.parametrize("name", ["", "^", "NONE", "Unknown^Unknown", "ANONYMOUS", "n/a"])
def test_what_is_no_name_says_nothing(name):
    assert marks_of(name, datetime.date(1900, 1, 1)) == Marks("", "")


def test_no_name_can_be_read_in_a_mark():
    assert "doe" not in "".join(DOE).lower()
    assert all(len(mark) == 32 for mark in DOE)


MARRIED, CORRECTED = Marks("x", DOE.birth), Marks(DOE.name, "y")


@pytest.mark.parametrize(
    ("persons", "told", "choice"),
    [
        ({}, DOE, (None, True, "")),
        ({1: []}, DOE, (1, False, "")),  # of an older version
        ({1: [DOE]}, DOE, (1, False, "")),
        ({1: [DOE]}, Marks(), (1, False, "")),
        ({1: [DOE]}, Marks(DOE.name, ""), (1, False, "")),
        ({1: [DOE]}, MARRIED, (1, False, ALIKE.format("name"))),
        ({1: [DOE]}, CORRECTED, (1, False, ALIKE.format("birth date"))),
        ({1: [DOE, MARRIED]}, MARRIED, (1, False, "")),  # told once
        ({1: [DOE]}, ROE, (None, True, APART)),
        ({1: [DOE], 2: [ROE]}, ROE, (2, False, "")),
        ({1: [DOE], 2: [ROE]}, Marks("", ROE.birth), (2, False, "")),
        ({1: [DOE], 2: [ROE]}, Marks(), (None, False, UNCLEAR)),
        ({1: [DOE], 2: [ROE]}, Marks(DOE.name, ROE.birth), (None, False, UNCLEAR)),
    ],
)
def test_one_contradiction_is_told_and_two_are_another_person(persons, told, choice):
    assert choose(persons, told) == choice


def identity(instance, marks=DOE, patient="4711", study="1.2", issuer=""):
    return Identity(
        patient_id=patient,
        issuer=issuer,
        study=study,
        series="1.2.1",
        sop_class="1.9",
        instance=instance,
        name=marks.name,
        birth=marks.birth,
    )


@pytest.fixture
def names(tmp_path):
    with Pseudonyms(tmp_path / "names.db") as made:
        yield made


def test_two_persons_of_one_number_have_two_pseudonyms(names):
    jane, again = (names.reserve(identity(f"1.{n}")) for n in range(2))
    richard, also = (names.reserve(identity(f"2.{n}", ROE)) for n in range(2))
    nobody = names.reserve(identity("3.0", Marks(), study="1.7"))
    assert jane.pseudonym == again.pseudonym
    assert richard.pseudonym == also.pseudonym
    assert len({jane.pseudonym, richard.pseudonym, nobody.pseudonym}) == 3
    assert [each.doubt for each in (jane, again, richard, also)] == ["", "", APART, ""]
    assert nobody.doubt == UNCLEAR
    original = names.originals(richard.instances)[richard.instances[0]]
    assert (original.patient_id, original.issuer) == ("4711", "")
    names.forget(jane.pseudonym)
    assert names.reserve(identity("2.2", ROE)).pseudonym == richard.pseudonym
    names.forget(richard.pseudonym)
    anew = names.reserve(identity("2.3", ROE))
    assert (anew.doubt, anew.pseudonym != richard.pseudonym) == ("", True)


@pytest.mark.parametrize("patient", ["4711 ", "\u00a04711", "4711\u2003", "47\u200b11"])
def test_a_patient_id_has_its_normal_form(names, patient):
    plain = names.reserve(identity("1.1", issuer="clinic"))
    spelt = names.reserve(identity("1.2", patient=patient, issuer=" clinic\ufeff"))
    assert plain.pseudonym == spelt.pseudonym


@pytest.mark.parametrize("patient", ["NONE", "nan", "N/A", "\u200b", "NULL"])
def test_a_patient_id_that_stands_for_none_is_none(names, patient):
    one = names.reserve(identity("1.1", patient=patient, study="1.7"))
    other = names.reserve(identity("1.2", patient=patient, study="1.8"))
    assert one.pseudonym != other.pseudonym


def test_a_file_of_an_older_version_is_used_as_it_is(names):
    names.reserve(identity("1.1", patient="old"))
    names.close()
    db = sqlite3.connect(names.path)
    with db:
        db.execute("DROP TABLE others")
        db.execute("DROP TABLE seen")
        db.execute("DROP TABLE sums")
        db.execute("PRAGMA user_version = 1")
        db.execute("UPDATE patients SET patient = ?", ("M\u00fcller\u200b",))
        (pseudonym,) = db.execute("SELECT pseudonym FROM patients").fetchone()
    db.close()
    with Pseudonyms(names.path) as opened:
        for n in range(2):
            made = opened.reserve(identity(f"2.{n}", patient="Mu\u0308ller"))
            assert (made.pseudonym, made.doubt) == (pseudonym, "")
        assert opened.reserve(identity("2.9", ROE, patient="M\u00fcller")).doubt == APART


def test_an_instance_of_another_patient_is_refused_and_nothing_is_noted(names):
    first = names.reserve(identity("1.1"))
    for other in (
        identity("1.1", patient="4712"),
        identity("1.1", ROE),
        identity("1.1", issuer="elsewhere"),
        identity("1.1", patient=""),
    ):
        with pytest.raises(ImageError) as refusal:
            names.reserve(other)
        assert str(refusal.value) == OTHER_PATIENT
    assert names.reserve(identity("1.1")) == first
    assert names.reserve(identity("1.1", Marks())) == first
    assert len(names.unfinished()) == 1


# --- pictures ---


def picture(seed):
    """(256, 256, 3) uint8: a round field in a few colours, which a lossy codec keeps."""
    grid = np.random.default_rng(seed).integers(60, 256, (4, 4, 3))
    away = np.hypot(*np.mgrid[-128:128, -128:128])
    return np.uint8(np.kron(grid, np.ones((64, 64, 1))) * (away < 120)[..., None])


@pytest.fixture(scope="module")
def intake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intake")
    with Intake(folder / "A", folder / "store", folder / "names.db") as made:
        yield made


def sent(pixels, uid, **more):
    return to_bytes(with_pixels(pixels, SOPInstanceUID=uid, **({"StudyInstanceUID": "1.2.7"} | more)))


def test_another_picture_under_one_uid_is_told_and_the_first_stays(intake):
    uid, uids = generate_uid(), []
    first = intake.take(sent(picture(1), uid, PatientID="a"))
    (stored,) = intake.store.glob(f"{first.pseudonym}/*.dcm")
    before = stored.read_bytes()
    for other in (sent(picture(2), uid, PatientID="a"), sent(picture(1)[:200], uid, PatientID="a")):
        with pytest.raises(ImageError) as refusal:
            intake.take(other)
        uids.append(str(refusal.value))
    with pytest.raises(ImageError) as refusal:
        intake.take(sent(picture(2), uid, PatientID="b"))
    assert [*uids, str(refusal.value)] == [OTHER_PICTURE, OTHER_PICTURE, OTHER_PATIENT]
    assert stored.read_bytes() == before
    assert not intake.take(sent(picture(1), uid, PatientID="a")).new


def test_another_picture_in_one_batch_does_not_take_the_place_of_the_first(intake):
    uid = generate_uid()
    data = [sent(picture(n), uid, PatientID="c") for n in (3, 4, 3)]
    first, other, again = intake.take_many(data)
    assert isinstance(other, Refused)
    assert other.reason == OTHER_PICTURE
    assert (first.new, again.new, first.ids) == (True, False, again.ids)
    assert not intake.take(data[0]).new


def test_the_same_picture_in_another_syntax_is_there_already(intake):
    uid, pixels = generate_uid(), picture(5)
    stream = simplejpeg.encode_jpeg(pixels, 95)
    jpeg = encapsulated(pixels, [stream], "YBR_FULL_422", SOPInstanceUID=uid, PatientID="d")
    assert intake.take(to_bytes(jpeg, JPEGBaseline8Bit)).new
    plain = simplejpeg.decode_jpeg(stream, fastdct=True)  # as a PACS unpacks it
    assert not intake.take(sent(plain, uid, PatientID="d")).new
    again = sent(plain, uid, PatientID="d", PatientName="Doe^Jane", StudyDate="20200102")
    assert not intake.take(again).new  # a header that was corrected


def test_what_was_removed_may_come_again_with_other_pixels(intake):
    uid = generate_uid()
    taken = intake.take(sent(picture(6), uid, PatientID="e"))
    intake.archive.remove(ids=taken.ids)
    assert intake.take(sent(picture(7), uid, PatientID="e")).new


def test_a_folder_tells_both_and_keeps_no_name(tmp_path):
    export = tmp_path / "export"
    export.mkdir()
    one = {"PatientID": "4711", "PatientName": "Doe^Jane", "PatientBirthDate": "19500607"}
    two = {"PatientID": "4711", "PatientName": "Roe^Richard", "PatientBirthDate": "19610203"}
    said = {"StudyInstanceUID": "1.2.8"}
    for n, (seed, uid, who) in enumerate(
        ((1, "1.2.3.1", one), (2, "1.2.3.2", two), (3, "1.2.3.1", one), (4, "1.2.3.2", one))
    ):
        (export / f"{n}").write_bytes(sent(picture(seed), uid, **said, **who))
    done = foveola("index", tmp_path / "A", f"dicom://{export}", code=3)
    assert "2 DICOM images added, 0 there already, 2 could not be used" in done.stdout
    for sentence in (f"1 x {OTHER_PICTURE}", f"1 x {OTHER_PATIENT}", f"look at case 2: {APART}"):
        assert sentence in done.stderr
    with Archive.open(tmp_path / "A", read_only=True) as archive:
        assert archive.info().subjects == 2
    names = tmp_path / "A.pacs" / "pseudonyms.sqlite"
    for secret in (b"Doe", b"Roe", b"19500607", b"1950-06-07"):
        assert secret not in names.read_bytes()
        assert secret.decode() not in done.stdout + done.stderr
    again = json.loads(foveola("index", tmp_path / "A", f"dicom://{export}", "--json", code=3).stdout)
    assert (again["added"], again["unchanged"], again["doubtful"]) == (0, 2, {})


# --- a real PACS, which keeps two images of two patients under one SOP Instance UID ---


def test_a_pull_tells_of_two_patients_images_under_one_uid(tmp_path):
    pytest.importorskip("dicomweb_client")
    with orthancs.running(tmp_path) as pacs:
        for n, patient in enumerate(("ZZONE", "ZZTWO")):
            data = sent(picture(n) // 12, "1.2.3.9", PatientID=patient, StudyInstanceUID=f"1.2.{n + 1}")
            with urlopen(Request(f"{pacs.url}/instances", data=data, method="POST")) as answer:
                assert json.load(answer)["Status"] == "Success"
        done = foveola("pacs", "pull", tmp_path / "A", pacs.web, code=3)
        again = foveola("pacs", "pull", tmp_path / "A", pacs.web)
    assert "1 added, 0 there already, 1 could not be used" in done.stdout
    assert f"could not be used: {OTHER_PATIENT}" in done.stderr
    assert "1 of the 1 added may be too dark, blurred or hazy to be graded" in done.stderr
    assert "0 added, 0 there already, 0 could not be used" in again.stdout
    assert "ZZ" not in done.stdout + done.stderr


def test_what_is_sent_twice_under_one_uid_is_kept_aside(intake, tmp_path):
    uid, said = generate_uid(), []
    data = [sent(picture(seed), uid, PatientID="f") for seed in (8, 9)]
    with Spool(tmp_path) as spool:
        for each in data:
            spool.put([each])
        assert Worker(spool, intake.take, said.append).drain() == 0
        (note,) = tmp_path.glob("refused/*.txt")
        (kept,) = tmp_path.glob("refused/*.dcm")
    assert said == [f"an object was refused: {OTHER_PICTURE}"]
    assert note.read_text().strip() == OTHER_PICTURE
    assert kept.read_bytes() == data[1]
