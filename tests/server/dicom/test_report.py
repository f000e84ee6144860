"""What a report says of which answer; other toolkits read it in test_orthanc.py, and here."""

import io
import re
import subprocess

import pytest

pytest.importorskip("highdicom")

import highdicom
import pydicom
from pydicom.dataset import Dataset

import refused
from foveola.errors import PacsError
from foveola.records import Case
from foveola.relevance.calibrate import LabelShare, Share, Suggestion
from foveola.retrieval import Hit, Retriever, SearchResult
from foveola.server.dicom.report import (
    NO_DIAGNOSIS,
    PHANTOMS,
    case_link,
    case_words,
    report_words,
    similar_cases_report,
)
from foveola.server.dicom.web import to_bytes
from foveola.trust import HitTrust, Looks, QueryTrust
from skips import need

LINK = "https://foveola.example/cases/{case}"


def image(**values):
    made = Dataset()
    said = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.5.1",
        "SOPInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2.1",
        "SeriesInstanceUID": "1.2.2",
        "PatientName": "Müller^Anna",
        "PatientID": "4711",
        "SpecificCharacterSet": "ISO_IR 100",
    } | values
    for keyword, value in said.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def case(**values):
    return Case(image="x.dcm", path="/x.dcm", **values)


TRUST = HitTrust("grade", 0.25, 0.75, Share(0.82, 0.74, 0.88), True)
HITS = (
    Hit(1, 0.91239, 0.8, case(subject="P7", eye="right", grade=2, visit=12), 5, TRUST),
    Hit(2, 0.5, 0.4, case(), 6, None),
)
SHARES = (LabelShare("2", Share(0.82, 0.74, 0.88)), LabelShare("3", Share(0.18, 0.12, 0.26)))
SUGGESTION = Suggestion("grade", SHARES, False, 300, True)


def result(hits=HITS, **values):
    said = {
        "query": case(eye="left"),
        "in_archive": True,
        "hits": hits,
        "considered": 10,
        "excluded_same_subject": 3,
        "where": None,
        "encoder": "fundus",
        "fingerprint": "ab" * 32,
        "milliseconds": 1.0,
        "gradability": 0.9,
        "order": "learned",
        "label": "grade",
        "recorded": 1,
        "trust": QueryTrust(SUGGESTION, 0.5, 0.3, 0.01, True, Looks(0.5, False)),
    } | values
    return SearchResult(**said)


def read_again(made):
    """As another program gets it."""
    return highdicom.sr.srread(io.BytesIO(to_bytes(made)))


def groups(report):
    """Numbers by name of each measurement group, as plain values."""
    found = read_again(report).content.get_image_measurement_groups()
    return [
        {each.name.value: (float(each.value), each.unit.value) for each in group.get_measurements()} for group in found
    ]


def test_numbers_of_each_case():
    query, first, second = groups(similar_cases_report(image(), result()))
    assert query == {"GRADABILITY": (0.9, "1")}
    assert first == {
        "RANK": (1, "1"),
        "SIMILARITY": (0.9124, "1"),
        "PCTSAME": (25, "%"),
        "PCTOTHER": (75, "%"),
        "AGREEMENT": (82, "%"),
    }
    assert second == {"RANK": (2, "1"), "SIMILARITY": (0.5, "1")}


def test_words_of_each_case_and_of_the_answer():
    words = report_words(similar_cases_report(image(), result(), asked=4, link=LINK))
    said = words[words.index("Case 5") :]
    assert "subject P7, right eye, month 12; moderate NPDR" in said
    assert "same grade in 82 % (74 to 88)" in said
    assert "https://foveola.example/cases/5" in said
    assert "subject unknown; unlabelled" in words[words.index("Case 6") :]
    answer = words[words.index(NO_DIAGNOSIS) :]
    assert answer[1] == (
        "Of 100 photographs like this, 82 (74 to 88) have moderate NPDR, 18 (12 to 26) have severe NPDR."
    )
    assert "Ordered by the archive's labels (grade), looks second; grade is recorded for 1 of 2 hits." in answer
    unknown = "not known whose photograph this is; 3 left out, so alike that they may be of one person"
    assert f"10 cases compared; same person: {unknown}." in words
    assert words[-1] == "https://foveola.example/cases/4"
    assert PHANTOMS not in words


def test_who_made_it_and_how_far_it_can_be_trusted():
    made = read_again(similar_cases_report(image(), result(where="grade >= 2")))
    words = report_words(made)
    assert {"encoder fundus", f"fingerprint {'ab' * 32}", "condition grade >= 2", "order learned"} <= set(words)
    assert (made.CompletionFlag, made.PreliminaryFlag) == ("PARTIAL", "PRELIMINARY")
    assert made.VerificationFlag == "UNVERIFIED"
    assert made.Manufacturer == "Foveola"
    assert made.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99FOVEOLA"


def test_the_patient_is_as_the_pacs_says_and_unknown_stays_empty():
    made = read_again(similar_cases_report(image(), result()))
    assert made.PatientName == "Müller^Anna"
    assert made.StudyInstanceUID == "1.2.1"
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert (made.PatientBirthDate, made.AccessionNumber) == ("", "")
    assert made.get_evidence() == [("1.2.1", "1.2.2", "1.2.3", image().SOPClassUID)]
    assert made.SeriesInstanceUID != "1.2.2"


def test_a_frame_is_named_where_there_are_several():
    made = read_again(similar_cases_report(image(), result(), frame=3))
    (group, *_) = made.content.get_image_measurement_groups()
    assert group.source_images[0].referenced_frame_numbers == [3]
    made = read_again(similar_cases_report(image(), result()))
    (group, *_) = made.content.get_image_measurement_groups()
    assert not group.source_images[0].referenced_frame_numbers


def test_no_similar_case_is_a_report_too():
    trust = QueryTrust(None, None, None, 0.01, False, Looks(None, True))
    made = similar_cases_report(image(), result(hits=(), trust=trust, considered=0, order="looks"))
    assert len(groups(made)) == 1
    assert any("does not look like" in word for word in report_words(made))
    assert "Ordered by looks." in report_words(made)
    assert not any("of 100" in word.lower() or "%" in word for word in report_words(made))


@pytest.mark.parametrize("name", ["chest", "cat", "black", "poor", "far"])
def test_of_what_cannot_be_compared_no_share_is_written(learnt, new_photographs, tmp_path, name):
    pixels = refused.pictures(refused.read(new_photographs[0]))[name]
    with Retriever.open(learnt) as retriever:
        usual = retriever.search(new_photographs[0], 4)
        found = retriever.search(refused.write(tmp_path / "x.png", pixels), 4)
    words = report_words(similar_cases_report(image(), found))
    assert any("No sufficiently similar case" in word for word in words)
    refused.silent(" | ".join(words), name)
    _, *hits = groups(similar_cases_report(image(), found))
    assert all(set(numbers) == {"RANK", "SIMILARITY"} for numbers in hits)
    words = report_words(similar_cases_report(image(), usual))
    assert words[words.index(NO_DIAGNOSIS) + 1].startswith("Of 100 photographs like this, ")


def test_phantoms_are_called_phantoms():
    hits = (Hit(1, 0.9, 0.9, case(extra={"phantom": 1}), 5),)
    assert PHANTOMS in report_words(similar_cases_report(image(), result(hits)))


def test_a_pacs_that_leaves_out_a_uid_is_told():
    with pytest.raises(PacsError, match="StudyInstanceUID"):
        similar_cases_report(image(StudyInstanceUID=None), result())


@pytest.mark.parametrize(
    "template",
    [
        "https://x/cases",
        "https://x/{patient}",
        "https://x/{case}/{case}",
        "https://x/{case}{id}",
        "https://x/{0}",
        "{case}{",
        "{{case}}",
    ],
)
def test_a_link_can_hold_nothing_but_the_number_of_a_case(template):
    with pytest.raises(PacsError, match="link must hold"):
        case_link(template, 5)
    assert case_link(None, 5) is None


def test_what_is_said_of_a_case():
    assert case_words(case(subject="P7", findings=frozenset("GC"))) == "subject P7; cataract, glaucoma"
    assert case_words(case(findings=frozenset(), grade=0)) == "subject unknown; no DR; no findings"
    assert case_words(case(eye="left", visit="2021-02-03")) == ("subject unknown, left eye, 2021-02-03; unlabelled")


@pytest.mark.parametrize("tool", ["dsrdump", "dciodvfy"])
@pytest.mark.parametrize("sound", [True, False])
def test_other_toolkits_accept_it_and_would_not_accept_anything(tmp_path, tool, sound):
    need(tool)
    made = similar_cases_report(image(), result(), frame=2, asked=4, link=LINK)
    if not sound:
        del made.CompletionFlag
        del made.ContentSequence[-1].ConceptNameCodeSequence
    pydicom.dcmwrite(tmp_path / "report.dcm", made, enforce_file_format=True)
    done = subprocess.run([tool, tmp_path / "report.dcm"], capture_output=True, text=True, timeout=60)
    # dcmtk warns that it can't check the letters of ISO_IR 192, and of what is missing
    pattern = r"^(?:E: |Error|W: (?!The VR checker does not support)).*"
    faults = re.findall(pattern, done.stdout + done.stderr, re.MULTILINE)
    assert (done.returncode == 0 and not faults) == sound, faults
