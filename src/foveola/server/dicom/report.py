"""The similar cases of a photograph as a DICOM structured report (TID 1500).

One measurement group for the photograph asked about (gradability) and one for each similar case
(rank, similarity, how far to trust it, and in words what is known of the case by its pseudonym).
The report is never complete and never verified: a person has to judge it.
"""

import uuid
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Final

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
from foveola.retrieval import Hit, SearchResult
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
    """Where a case of the archive can be looked at.

    Args:
        template: an address with {case} in the place of the case's number, which is the only
            thing of a case that may stand in an address; None gives None.
        id_: of the case.

    Raises:
        PacsError: the template has no {case}, or another field.
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
    """A report on the cases that are most like an image of a PACS.

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
    algorithm = _algorithm(result)
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
    made.CodingSchemeIdentificationSequence = [_scheme()]
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


def _scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Foveola, similar-case search for retinal photographs"
    item.CodingSchemeResponsibleOrganization = "Foveola"
    return item


def _observer(result: SearchResult) -> ObservationContext:
    """The program as a device, the same one for as long as version and encoder stay."""
    name = f"foveola {version('foveola')} {result.fingerprint}"
    uid = UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, name)))
    device = DeviceObserverIdentifyingAttributes(
        uid=uid, name="Foveola", manufacturer_name="Foveola", model_name=result.encoder
    )
    return ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device))


def _algorithm(result: SearchResult) -> AlgorithmIdentification:
    parameters = [f"encoder {result.encoder}", f"fingerprint {result.fingerprint}"]
    parameters.append(f"order {result.order}")
    if result.where:
        parameters.append(f"condition {result.where}")
    return AlgorithmIdentification("Foveola", version("foveola"), parameters)


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
    """What is known of a case: "subject P7, right eye, month 12; moderate NPDR; cataract"."""
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
    sentences = [
        NO_DIAGNOSIS,
        *of_query(result.trust, cases),
        *([] if doubt is None else [doubt]),
        _ordered(result),
        _compared(result),
    ]
    if any(map(is_phantom, cases)):
        sentences.append(PHANTOMS)
    container.ContentSequence = ContentSequence([_text(codes.DCM.Comment, sentence) for sentence in sentences])
    if link:
        container.ContentSequence.append(_text(LINK, link))
    return container


def _ordered(result: SearchResult) -> str:
    recorded = of_recorded(result.label, result.recorded, len(result.hits))
    how = "; ".join(filter(None, [of_order(result.order, result.label), recorded]))
    return f"Ordered {how}."


def _compared(result: SearchResult) -> str:
    person = of_person(result.query.subject is not None, result.excluded_same_subject)
    return f"{result.considered} cases compared; same person: {person}."


def _measured(name: CodedConcept, value: float, unit: Code = codes.UCUM.NoUnits) -> Measurement:
    return Measurement(name, round(value, 4), unit)


def _text(name: CodedConcept | Code, value: str) -> TextContentItem:
    return TextContentItem(name, value, RelationshipTypeValues.CONTAINS)


def report_words(report: Dataset) -> Sequence[str]:
    """Every text of a report, in order; for people who look without a viewer."""
    said: list[str] = []
    for item in report.get("ContentSequence", []):
        if item.ValueType == "TEXT":
            said.append(str(item.TextValue))
        said += report_words(item)
    return said


__all__ = ["NO_DIAGNOSIS", "case_link", "case_words", "report_words", "similar_cases_report"]
