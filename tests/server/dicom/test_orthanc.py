"""The whole way with a real Orthanc: a study in by C-STORE and by STOW-RS, a report back.

Every command runs in a process of its own, as at a hospital, and a marker stands in every text
of every header: it must be nowhere but in the file of pseudonyms and in the PACS.
"""

import contextlib
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pynetdicom")
pytest.importorskip("dicomweb_client")

import highdicom
import pydicom
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import JPEGBaseline8Bit, generate_uid
from pynetdicom import AE

import orthanc as orthancs
from commands import foveola
from dicoms import OPHTHALMIC_8, encapsulated, to_bytes
from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.server.dicom.pseudonyms import Pseudonyms
from foveola.server.dicom.report import NO_DIAGNOSIS, report_words
from skips import need

MARKER = "ZZMARKERZZ"
SECONDS = 60  # allowed on a busy machine; what was measured is in docs/how-to/pacs.md
START = 240  # for a process to start, and for reports, which nobody waits for
REPORT = "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture(scope="module")
def cases(phantoms):
    """Eight people with two visits; the last three come by the PACS."""
    return list(Manifest.read(phantoms).cases())


@pytest.fixture(scope="module")
def place(tmp_path_factory, cases):
    """A folder with an archive A of five people."""
    folder = tmp_path_factory.mktemp("clinic")
    add_missing(folder / "A", [case for case in cases if case.subject in _subjects(cases)[:5]])
    return folder


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with orthancs.running(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def _subjects(cases):
    return sorted({case.subject for case in cases})


def study(cases, subject):
    """Both eyes of a person's first visit, as a camera would send them."""
    first = [case for case in cases if case.subject == subject][:2]
    uid = generate_uid()
    return [dicom(case, StudyInstanceUID=uid, PatientID=f"{MARKER}{subject}") for case in first]


def dicom(case, **values):
    pixels = np.asarray(Image.open(case.path).convert("RGB"))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "jpeg", quality=95)
    side = {"left": "L", "right": "R"}[case.eye]
    made = encapsulated(
        pixels,
        [out.getvalue()],
        "YBR_FULL_422",
        ImageLaterality=side,
        PatientName=f"{MARKER}^Anna",
        PatientBirthDate="19500607",
        PatientSex="F",
        StudyDescription=f"{MARKER} study",
        SeriesDescription=MARKER,
        InstitutionName=MARKER,
        ReferringPhysicianName=f"{MARKER}^Doctor",
        AccessionNumber=MARKER[:16],
        StudyID=MARKER,
        OperatorsName=MARKER,
        ImageComments=MARKER,
        Manufacturer=MARKER,
        **values,
    )
    made.private_block(0x0011, MARKER, create=True).add_new(1, "LO", MARKER)
    return to_bytes(made, JPEGBaseline8Bit)


@contextlib.contextmanager
def started(place, *arguments, code=0):
    """A command that runs until it is stopped; what it says goes into files."""
    log = place / f"{arguments[1]}.log"
    command = [sys.executable, "-u", "-m", "foveola", *map(str, arguments)]
    with log.open("a+b") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            yield process, log
        finally:
            process.terminate()
            ended = process.wait(120)
    assert ended in (code, -9), log.read_text()
    assert "Traceback" not in log.read_text()


def until(true, what, seconds=SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (answer := true()) is not None:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


def port_of(log):
    said = until(lambda: re.search(r"port (\d+)", log.read_text()), "listening", START)
    return int(said[1])


def send(port, objects, called="FOVEOLA"):
    """By C-STORE, as a camera does."""
    entity = AE("CAMERA")
    entity.add_requested_context(OPHTHALMIC_8, JPEGBaseline8Bit)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    read = [pydicom.dcmread(io.BytesIO(data)) for data in objects]
    statuses = [association.send_c_store(each).Status for each in read]
    association.release()
    return statuses


def taken(place, objects):
    """Numbers of the cases that were made from these objects; None until all are there."""
    uids = [pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID for data in objects]
    names = place / "A.pacs" / "pseudonyms.sqlite"
    if not names.exists():
        return None
    with Pseudonyms(names) as known, Archive.open(place / "A", read_only=True) as archive:
        new = [uid for original in uids for uid in known.renamed(original)]
        ids = {Path(case.path).stem: id_ for id_, case in archive.cases()}
    return [ids[uid] for uid in new] if new and all(uid in ids for uid in new) else None


def reports_of(orthanc, objects):
    """The reports in the study of these objects, by QIDO-RS."""
    study = pydicom.dcmread(io.BytesIO(objects[0])).StudyInstanceUID
    client = DICOMwebClient(orthanc.web)
    return client.search_for_instances(study, search_filters={"Modality": "SR"})


@pytest.fixture(scope="module")
def arrived(place, orthanc, cases):
    """Three studies on three ways, and the seconds that each took until it could be found."""
    direct, stowed, routed = (study(cases, subject) for subject in _subjects(cases)[5:])
    seconds = {}
    with started(
        place,
        "pacs",
        "listen",
        place / "A",
        "--port",
        0,
        "--allow",
        "CAMERA",
        "--allow",
        "ORTHANC",
        "--answer-to",
        orthanc.web,
        "-k",
        1,
    ) as (_, log):
        port = port_of(log)
        start = time.monotonic()
        assert send(port, direct) == [0, 0]
        until(lambda: taken(place, direct), "C-STORE")
        seconds["C-STORE"] = time.monotonic() - start
        until(lambda: "reports wait" in log.read_text() or None, "no such image there", START)

        ours = {"AET": "FOVEOLA", "Host": "127.0.0.1", "Port": port}
        orthanc.ask("/modalities/foveola", ours, method="PUT")
        start = time.monotonic()
        assert send(orthanc.port, routed, orthancs.TITLE) == [0, 0]
        until(lambda: taken(place, routed), "C-STORE by Orthanc")
        seconds["C-STORE by Orthanc"] = time.monotonic() - start
        until(lambda: len(reports_of(orthanc, routed)) == 2 or None, "reports", START)
        seconds["C-STORE by Orthanc, with both reports back"] = time.monotonic() - start
    with started(
        place, "pacs", "pull", place / "A", orthanc.web, "--every", 0.5, "--answer-to", orthanc.node, "-k", 1
    ) as (_, log):
        until(lambda: "every 0.5 s" in log.read_text() or None, "pulling", START)
        start = time.monotonic()
        client = DICOMwebClient(orthanc.web)
        client.store_instances([pydicom.dcmread(io.BytesIO(data)) for data in stowed])
        until(lambda: taken(place, stowed), "STOW-RS")
        seconds["STOW-RS and a pull every 0.5 s"] = time.monotonic() - start
        until(lambda: len(reports_of(orthanc, stowed)) == 2 or None, "reports", START)
        seconds["STOW-RS, with both reports back"] = time.monotonic() - start
    return {"direct": direct, "stowed": stowed, "routed": routed, "seconds": seconds}


def test_studies_can_be_found_soon_after_they_were_sent(arrived, capsys):
    with capsys.disabled():
        for way, seconds in arrived["seconds"].items():
            print(f"\n  {way}: {seconds:.1f} s", end="")
    found = {way: s for way, s in arrived["seconds"].items() if "reports" not in way}
    assert len(found) == 3
    assert max(found.values()) < SECONDS


def test_they_are_in_the_archive_once_with_eye_and_pseudonym(arrived, place):
    for way in ("direct", "stowed", "routed"):
        ids = taken(place, arrived[way])
        with Archive.open(place / "A", read_only=True) as archive:
            found = [archive.case(id_) for id_ in ids]
        assert len({case.subject for case in found}) == 1
        assert re.fullmatch(r"P\w+", found[0].subject)
        headers = [pydicom.dcmread(io.BytesIO(data)) for data in arrived[way]]
        assert [case.eye[0].upper() for case in found] == [h.ImageLaterality for h in headers]
    with Archive.open(place / "A", read_only=True) as archive:
        assert len(archive) == 5 * 4 + 3 * 2


def test_a_second_pull_fetches_nothing_twice(arrived, place, orthanc):
    said = json.loads(foveola("pacs", "pull", place / "A", orthanc.web, "--json").stdout)
    assert said == {"added": 0, "known": 0, "refused": [], "may_not_be_gradable": 0}  # nor a report
    again = foveola("pacs", "pull", place / "A", orthanc.web, "--feed", "qido", "--days", 0, "--json")
    assert json.loads(again.stdout) == {
        "added": 0,
        "known": 4,
        "refused": [],
        "may_not_be_gradable": 0,
    }  # another memory


@pytest.fixture(scope="module")
def answered(arrived, place, orthanc):
    """Reports by STOW-RS and by C-STORE, retrieved again by WADO-RS."""
    original = pydicom.dcmread(io.BytesIO(arrived["stowed"][0]))
    (id_, _) = taken(place, arrived["stowed"])
    link = ("--link", "https://foveola.example/cases/{case}")
    foveola("pacs", "answer", place / "A", "--case", id_, "--to", orthanc.web, "-k", 5, *link)
    foveola("pacs", "answer", place / "A", "--sop", original.SOPInstanceUID, "--to", orthanc.node, "-k", 2)
    client = DICOMwebClient(orthanc.web)
    study = original.StudyInstanceUID
    reports = [
        client.retrieve_instance(study, each["0020000E"]["Value"][0], each["00080018"]["Value"][0])
        for each in reports_of(orthanc, arrived["stowed"])
    ]
    return original, id_, sorted(reports, key=lambda report: -len(report_words(report)))


def test_the_reports_come_back_into_the_study_of_the_image(answered):
    original, _, reports = answered
    assert len(reports) == 2 + 2  # one for each eye had come by itself
    instances = {original.SOPInstanceUID: 0}
    for report in reports:
        assert report.SOPClassUID == REPORT
        for keyword in (
            "StudyInstanceUID",
            "PatientID",
            "PatientName",
            "PatientBirthDate",
            "PatientSex",
            "StudyDate",
            "AccessionNumber",
            "StudyID",
        ):
            assert report[keyword].value == original[keyword].value, keyword
        assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
        (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
        (series,) = evidence.ReferencedSeriesSequence
        (image,) = series.ReferencedSOPSequence
        uid = image.ReferencedSOPInstanceUID
        instances[uid] = instances.get(uid, 0) + 1
    assert instances[original.SOPInstanceUID] == 2 + 1
    assert sorted(instances.values()) == [1, 3]


def test_a_report_names_similar_cases_and_no_diagnosis(answered, place):
    _, id_, (report, short, *by_itself) = answered
    words = report_words(report)
    assert NO_DIAGNOSIS in words
    assert words[-1] == f"https://foveola.example/cases/{id_}"
    parsed = highdicom.sr.ComprehensiveSR.from_dataset(report)
    groups = parsed.content.get_image_measurement_groups()
    assert len(groups) == 6
    ranks = [
        int(measured.value)
        for group in groups
        for measured in group.get_measurements()
        if measured.name.value == "RANK"
    ]
    assert ranks == [1, 2, 3, 4, 5]
    with Archive.open(place / "A", read_only=True) as archive:
        own = archive.case(id_).subject
    assert not any(own in word for word in words)  # the patient's other eye is left out
    assert "left out" in " ".join(words)
    sizes = [len(report_words(each)) for each in (report, short, *by_itself)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert all(NO_DIAGNOSIS in report_words(each) for each in by_itself)


def test_a_report_is_valid_for_other_toolkits(answered, tmp_path):
    tools = need("dsrdump"), need("dciodvfy")
    for number, report in enumerate(answered[2]):
        report.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        for tool in tools:
            done = subprocess.run([tool, tmp_path / f"{number}.dcm"], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            said = done.stdout + done.stderr
            faults = r"^(E: |Error|W: (?!The VR checker does not support)).*"
            assert not re.search(faults, said, re.MULTILINE), said


def test_the_marker_stays_in_the_pacs_and_in_the_file_of_pseudonyms(arrived, answered, place):
    """Everything else in the folder: logs, archive, store, spool, what a pull remembers."""
    secret = place / "A.pacs" / "pseudonyms.sqlite"
    assert MARKER.encode() in secret.read_bytes()
    every = [path for path in place.rglob("*") if path.is_file()]
    seen = [path for path in every if not path.name.startswith(secret.name)]
    assert len([path for path in seen if path.suffix == ".dcm"]) == 6
    original, _, _ = answered
    originals = [original.SOPInstanceUID, original.StudyInstanceUID, original.SeriesInstanceUID]
    for path in seen:
        data = path.read_bytes()
        assert MARKER.encode() not in data, path.name
        assert MARKER not in str(path)
        assert not [uid for uid in originals if uid.encode() in data], path.name
    assert list((place / "A.pacs" / "spool" / "new").iterdir()) == []
    assert list((place / "A.pacs" / "spool" / "refused").iterdir()) == []


def test_a_case_that_came_from_no_pacs_is_not_answered(arrived, place, orthanc):
    done = foveola("pacs", "answer", place / "A", "--case", 1, "--to", orthanc.web, code=1)
    assert "case 1 did not come from a PACS" in done.stderr


def test_a_kill_between_acknowledgement_and_index_loses_nothing(tmp_path, cases):
    objects = [data for subject in _subjects(cases)[:2] for data in study(cases, subject)]
    with started(tmp_path, "pacs", "listen", tmp_path / "A", "--port", 0) as (process, log):
        assert send(port_of(log), objects) == [0] * len(objects)
        process.kill()
        process.wait(60)
    assert len(list((tmp_path / "A.pacs" / "spool" / "new").glob("*.dcm"))) > 0  # not too late
    broken = pydicom.dcmread(io.BytesIO(objects[0]))
    broken.SOPInstanceUID, broken.PixelData = generate_uid(), broken.PixelData[:200]
    log.unlink()
    with started(tmp_path, "pacs", "listen", tmp_path / "A", "--port", 0) as (_, log):
        port = port_of(log)
        until(lambda: taken(tmp_path, objects), "the rest", START)
        assert send(port, [to_bytes(broken, JPEGBaseline8Bit)]) == [0]
        refused = tmp_path / "A.pacs" / "spool" / "refused"
        until(lambda: list(refused.glob("*.dcm")) or None, "the refusal", START)
        (note,) = refused.glob("*.txt")
        assert "an object was refused: " + note.read_text().strip() in log.read_text()
    assert MARKER not in log.read_text()
    with Archive.open(tmp_path / "A", read_only=True) as archive:
        assert len(archive) == len(objects)
