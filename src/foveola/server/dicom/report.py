"""The similar cases of a photograph as a DICOM structured report (TID 1500).

One measurement group for the photograph asked about (gradability) and one for each similar case
(rank, similarity, how far to trust it, and in words what is known of the case by its pseudonym).
The report is never complete and never verified: a person has to judge it. `answer` searches with a
case that came from a PACS and sends its report back.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from highdicom import UID
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    ContainerContentItem,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr.value_types import ContentSequence
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from foveola.errors import PacsError
from foveola.labels import findings_of, grade_word, is_phantom, visit_word
from foveola.records import Case, Eye
from foveola.retrieval import Hit, Retriever, SearchResult
from foveola.server.dicom.pseudonyms import Pseudonyms
from foveola.server.dicom.web import Reference
from foveola.trust.sentences import of_hit, of_order, of_person, of_quality, of_query, of_recorded

SCHEME: Final = "99FOVEOLA"
NO_DIAGNOSIS: Final = (
    "Similar cases from an archive, found by a program and checked by nobody. They support a "
    "clinician and are no diagnosis."
)
PHANTOMS: Final = "There are generated photographs (phantoms) among the cases."


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning)


SEARCH = _own("SEARCH", "Search for similar retinal photographs")
QUERY = _own("QUERY", "Photograph asked about")
SIMILAR = _own("SIMILARCASE", "Similar case")
GRADABILITY = _own("GRADABILITY", "Gradability of the photograph, from 0 to 1")
RANK = _own("RANK", "Rank among the similar cases")
SIMILARITY = _own("SIMILARITY", "Cosine similarity of the descriptors")
SAME = _own("PCTSAME", "Percentile among pairs with the same label")
OTHER = _own("PCTOTHER", "Percentile among pairs with different labels")
AGREEMENT = _own("AGREEMENT", "Chance that the label is the same")
LINK = _own("LINK", "Address of the case in Foveola")
EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
_SIDES: Final[dict[Eye, Code]] = {"left": codes.SCT.Left, "right": codes.SCT.Right}


def case_link(template: str | None, id_: int) -> str | None:
    """Return the address where a case of the archive can be looked at.

    Args:
        template: an address with {case} in the place of the case's number, which is the only
            thing of a case that may stand in an address; None gives None.
        id_: of the case.

    Raises:
        PacsError: the template has no {case}, or another field.

    >>> case_link("https://foveola.example/cases/{case}", 7)
    'https://foveola.example/cases/7'
    """
    if template is None:
        return None
    fields = template.count("{"), template.count("}")
    if template.count("{case}") != 1 or fields != (1, 1):
        raise PacsError("the link must hold {case} once and no other field, as in https://foveola.example/cases/{case}")
    return template.replace("{case}", str(id_))


def similar_cases_report(
    image: Dataset, result: SearchResult, *, frame: int | None = None, asked: int | None = None, link: str | None = None
) -> ComprehensiveSR:
    """Make a report on the cases that are most like an image of a PACS.

    Args:
        image: header of the image as the PACS knows it: its patient, study and UIDs.
        result: what the search found.
        frame: which frame was asked about, from 1; None for a single-frame image.
        asked: number of the image's own case, for its link.
        link: template of addresses, see `case_link`.

    Raises:
        PacsError: the header lacks a UID, or the link can't be understood.
    """
    _complete(image)
    source = SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID, None if frame is None else [frame])
    parameters = [f"encoder {result.encoder}", f"fingerprint {result.fingerprint}", f"order {result.order}"]
    if result.where:
        parameters.append(f"condition {result.where}")
    algorithm = AlgorithmIdentification("Foveola", version("foveola"), parameters)
    groups = [_query_group(result, algorithm, source)]
    groups += [_hit_group(hit, algorithm, source, link) for hit in result.hits]
    report = MeasurementReport(
        observation_context=_observer(result), procedure_reported=SEARCH, imaging_measurements=groups
    )
    own = None if asked is None else case_link(link, asked)
    report[0].ContentSequence.append(_in_words(result, own))
    made = ComprehensiveSR(
        evidence=[image],
        content=report[0],
        series_instance_uid=UID(),
        series_number=9901,
        sop_instance_uid=UID(),
        instance_number=1,
        manufacturer="Foveola",
        manufacturer_model_name="Foveola",
        software_versions=version("foveola"),
        device_serial_number=result.fingerprint[:64],
        series_description="Similar cases",
        specific_character_set="ISO_IR 192",
        is_complete=False,
        is_final=False,
        is_verified=False,
    )
    scheme = Dataset()
    scheme.CodingSchemeDesignator = SCHEME
    scheme.CodingSchemeName = "Foveola, similar-case search for retinal photographs"
    scheme.CodingSchemeResponsibleOrganization = "Foveola"
    made.CodingSchemeIdentificationSequence = [scheme]
    return made


def _complete(image: Dataset) -> None:
    """Elements that must be there but may be empty, where the PACS left them out."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if not image.get(keyword):
            raise PacsError(f"the PACS does not say the {keyword} of the image; ask its operator")
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
        "StudyTime",
        "ReferringPhysicianName",
    ):
        if keyword not in image:
            setattr(image, keyword, "")


def _observer(result: SearchResult) -> ObservationContext:
    """The program as a device, the same one for as long as version and encoder stay."""
    name = f"foveola {version('foveola')} {result.fingerprint}"
    uid = UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, name)))
    device = DeviceObserverIdentifyingAttributes(
        uid=uid, name="Foveola", manufacturer_name="Foveola", model_name=result.encoder
    )
    return ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device))


def _query_group(
    result: SearchResult, algorithm: AlgorithmIdentification, source: SourceImageForMeasurementGroup
) -> MeasurementsAndQualitativeEvaluations:
    eye = result.query.eye
    site = FindingSite(codes.SCT.Retina, laterality=_SIDES[eye] if eye else None)
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(UID(), "Photograph asked about"),
        finding_type=QUERY,
        finding_sites=[site],
        algorithm_id=algorithm,
        source_images=[source],
        measurements=[_measured(GRADABILITY, result.gradability)],
    )


def _hit_group(
    hit: Hit, algorithm: AlgorithmIdentification, source: SourceImageForMeasurementGroup, link: str | None
) -> MeasurementsAndQualitativeEvaluations:
    """Rank, similarity and trust as numbers, the case in words."""
    group = MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(UID(), f"Case {hit.id}"),
        finding_type=SIMILAR,
        algorithm_id=algorithm,
        source_images=[source],
        measurements=list(_numbers(hit)),
    )
    content = group[0].ContentSequence
    content.append(_text(codes.DCM.Comment, case_words(hit.case)))
    if said := of_hit(hit.trust):
        content.append(_text(codes.DCM.Comment, said))
    if address := case_link(link, hit.id):
        content.append(_text(LINK, address))
    return group


def _numbers(hit: Hit) -> Iterable[Measurement]:
    yield _measured(RANK, hit.rank)
    yield _measured(SIMILARITY, hit.similarity)
    if hit.trust is None:
        return
    for name, share in ((SAME, hit.trust.same), (OTHER, hit.trust.other)):
        if share is not None:
            yield _measured(name, 100 * share, codes.UCUM.Percent)
    if hit.trust.agreement is not None:
        yield _measured(AGREEMENT, 100 * hit.trust.agreement.value, codes.UCUM.Percent)


def case_words(case: Case) -> str:
    """Say what is known of a case.

    >>> case_words(Case(image="", path="", subject="P7", eye="right", visit=12.0, grade=2))
    'subject P7, right eye, month 12; moderate NPDR'
    """
    who = f"subject {case.subject}" if case.subject is not None else "subject unknown"
    eye = f"{case.eye} eye" if case.eye else None
    first = ", ".join(filter(None, [who, eye, visit_word(case.visit)]))
    findings = findings_of(case)
    found = None if findings is None else ", ".join(findings) or "no findings"
    grade = None if case.grade is None else grade_word(case.grade)
    return "; ".join(filter(None, [first, grade, found])) if grade or found else f"{first}; unlabelled"


def _in_words(result: SearchResult, link: str | None) -> ContainerContentItem:
    """The whole answer in sentences, the most important first."""
    container = ContainerContentItem(EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS)
    cases = [hit.case for hit in result.hits]
    doubt = of_quality(result.trust.looks, result.gradability)
    recorded = of_recorded(result.label, result.recorded, len(result.hits))
    how = "; ".join(filter(None, [of_order(result.order, result.label), recorded]))
    person = of_person(result.query.subject is not None, result.excluded_same_subject)
    sentences = [
        NO_DIAGNOSIS,
        *of_query(result.trust, cases),
        *([] if doubt is None else [doubt]),
        f"Ordered {how}.",
        f"{result.considered} cases compared; same person: {person}.",
    ]
    if any(map(is_phantom, cases)):
        sentences.append(PHANTOMS)
    container.ContentSequence = ContentSequence([_text(codes.DCM.Comment, sentence) for sentence in sentences])
    if link:
        container.ContentSequence.append(_text(LINK, link))
    return container


def _measured(name: CodedConcept, value: float, unit: Code = codes.UCUM.NoUnits) -> Measurement:
    return Measurement(name, round(value, 4), unit)


def _text(name: CodedConcept | Code, value: str) -> TextContentItem:
    return TextContentItem(name, value, RelationshipTypeValues.CONTAINS)


def report_words(report: Dataset) -> Sequence[str]:
    """Return every text of a report, in order; for people who look without a viewer."""
    said: list[str] = []
    for item in report.get("ContentSequence", []):
        if item.ValueType == "TEXT":
            said.append(str(item.TextValue))
        said += report_words(item)
    return said


class Receiver(Protocol):
    """A PACS that knows the image and takes the report: `Pacs` or `Peer`."""

    def header(self, reference: Reference) -> Dataset:
        """Fetch patient, study and UIDs of an image."""

    def store(self, made: Dataset) -> None:
        """Take a report."""


@dataclass(frozen=True)
class Answered:
    """A report that the PACS has stored.

    Attributes:
        case: the number of the case asked about.
        result: what was found.
        sop_instance_uid: of the report.
        link: where the case can be looked at, if a template was given.
    """

    case: int
    result: SearchResult
    sop_instance_uid: str
    link: str | None


def case_of(retriever: Retriever, pseudonyms: Pseudonyms, instance: str) -> int:
    """Return the number of the case that was made from an instance of the PACS, of its first frame.

    Raises:
        PacsError: none was.
    """
    for new in pseudonyms.renamed(instance):
        original = pseudonyms.originals([new])[new]
        for id_, case in retriever.archive.cases():
            if case.subject == original.pseudonym and Path(case.path).stem == new:
                return id_
    raise PacsError("no case of the archive was made from an image with this SOP Instance UID")


def answer(
    retriever: Retriever,
    pseudonyms: Pseudonyms,
    id_: int,
    to: Receiver,
    *,
    k: int = 10,
    where: str | None = None,
    link: str | None = None,
) -> Answered:
    """Find the cases most like a case that came from a PACS, and send the report there.

    Patient and study of the report are asked of the PACS, which may have corrected them since;
    nothing of them is kept here.

    Args:
        retriever: of the archive.
        pseudonyms: which lead back to the image in the PACS.
        id_: of the case.
        to: the PACS.
        k: number of similar cases.
        where: condition on them.
        link: template of the address of a case, see `case_link`.

    Raises:
        ArchiveError: there is no such case.
        PacsError: it did not come from a PACS, or the PACS does not play its part.
        FilterError: the condition can't be understood.
        ImageError: the stored image can't be read any more.
    """
    own = case_link(link, id_)
    case = retriever.archive.case(id_)
    new = Path(case.path).stem
    original = pseudonyms.originals([new]).get(new)
    if original is None:
        raise PacsError(
            f"case {id_} did not come from a PACS, or not with these pseudonyms; answer only "
            "what was taken by foveola pacs or foveola index dicom://"
        )
    header = to.header(  # first, as it may fail
        Reference(original.study, original.series, original.instance, original.sop_class)
    )
    if "SOPClassUID" not in header:
        header.SOPClassUID = original.sop_class
    result = retriever.search(Path(case.path), k, where=where)
    frames = len(pseudonyms.renamed(original.instance))
    made = similar_cases_report(header, result, frame=original.frame if frames > 1 else None, asked=id_, link=link)
    to.store(made)
    return Answered(id_, result, str(made.SOPInstanceUID), own)
