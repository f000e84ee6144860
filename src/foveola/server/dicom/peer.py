"""A PACS that has no DICOMweb: ask it by C-FIND, send to it by C-STORE."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ComprehensiveSRStorage, StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from foveola.errors import PacsError
from foveola.server.dicom.web import Reference

SECONDS = 30.0
_ADDRESS = re.compile(r"dicom://([\x21-\x7e]{1,16})@(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})/?")
_PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
_STUDY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "StudyDescription",
    "SpecificCharacterSet",
)


class Peer:
    """A node of the DICOM network.

    Args:
        address: dicom://AE_TITLE@host:port.
        calling: AE title of ours, which the PACS must know.

    Raises:
        PacsError: the address can't be understood.
    """

    def __init__(self, address: str, calling: str = "FOVEOLA") -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None or int(found[3]) > 65535:
            raise PacsError("expected a PACS as dicom://AE_TITLE@host:port")
        self._title, self._host, self._port = found[1], found[2].strip("[]"), int(found[3])
        self.host = f"{found[2]}:{found[3]}"
        self._calling = calling

    def header(self, reference: Reference) -> Dataset:
        """Patient and study of an instance, with its UIDs.

        Raises:
            PacsError: the PACS can't be reached, refuses or does not know the study.
        """
        model = StudyRootQueryRetrieveInformationModelFind
        asked = Dataset()
        asked.QueryRetrieveLevel = "STUDY"
        asked.StudyInstanceUID = reference.study
        for keyword in (*_PATIENT, *_STUDY):
            setattr(asked, keyword, "")
        with self._associated(model) as association, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values of elements
            answers = list(association.send_c_find(asked, model))
        found = [identifier for _, identifier in answers if identifier is not None]
        if len(found) != 1:
            raise PacsError(f"the PACS at {self.host} does not know the study of the image")
        return _header(found[0], reference)

    def store(self, made: Dataset) -> None:
        """Send a report.

        Raises:
            PacsError: it was not stored.
        """
        with self._associated(ComprehensiveSRStorage) as association:
            status = association.send_c_store(made).get("Status")
        if status is None or (status != 0 and status & 0xF000 != 0xB000):  # B...: with a warning
            reason = "" if status is None else f" (status {status:#06x})"
            raise PacsError(f"the PACS at {self.host} did not store the report{reason}")

    @contextmanager
    def _associated(self, sop_class: str) -> Iterator[Association]:
        entity = AE(self._calling)
        entity.add_requested_context(sop_class)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
        entity.connection_timeout = SECONDS
        association = entity.associate(self._host, self._port, ae_title=self._title)
        if not association.is_established:
            why = "refuses us" if association.is_rejected else "can't be reached"
            if association.is_aborted and association.rejected_contexts:
                why = "does not offer what is needed"
            raise PacsError(f"the PACS at {self.host} {why}; check AE titles and port on both sides")
        try:
            yield association
        finally:
            association.release()


def _header(found: Dataset, reference: Reference) -> Dataset:
    header = Dataset()
    for keyword in (*_PATIENT, *_STUDY):
        if keyword in found:
            header[keyword] = found[keyword]
    header.StudyInstanceUID = reference.study
    header.SeriesInstanceUID = reference.series
    header.SOPInstanceUID = reference.instance
    header.SOPClassUID = reference.sop_class
    return header


__all__ = ["Peer"]
