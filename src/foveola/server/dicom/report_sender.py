"""Answer the PACS: search with a case that came from it, and send the report back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydicom import Dataset

from foveola.errors import PacsError
from foveola.retrieval import Retriever, SearchResult
from foveola.server.dicom.pseudonyms import Original, Pseudonyms
from foveola.server.dicom.report import case_link, similar_cases_report
from foveola.server.dicom.web import Reference


class Receiver(Protocol):
    """A PACS that knows the image and takes the report: `Pacs` or `Peer`."""

    def header(self, reference: Reference) -> Dataset:
        """Patient, study and UIDs of an image."""

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
    """Number of the case that was made from an instance of the PACS, of its first frame.

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
    original = _original(pseudonyms, Path(case.path).stem, id_)
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


def _original(pseudonyms: Pseudonyms, new: str, id_: int) -> Original:
    found = pseudonyms.originals([new])
    if new not in found:
        raise PacsError(
            f"case {id_} did not come from a PACS, or not with these pseudonyms; answer only "
            "what was taken by foveola pacs or foveola index dicom://"
        )
    return found[new]


__all__ = ["Answered", "Receiver", "answer", "case_of"]
