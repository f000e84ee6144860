"""The DICOM network: a node that takes what a PACS sends (C-STORE), and a peer that is asked (C-FIND).

An object is acknowledged when it lies in the spool, not before, so that nothing acknowledged is
lost; indexing follows (`foveola.server.dicom.spool`).
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from pydicom import Dataset, uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import ComprehensiveSRStorage, StudyRootQueryRetrieveInformationModelFind, Verification  # type: ignore[attr-defined]

from foveola.errors import PacsError
from foveola.server.dicom.spool import Spool

if TYPE_CHECKING:
    from foveola.server.dicom.web import Reference  # which needs what only DICOMweb needs

SYNTAXES: Final = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
    uid.RLELossless,
)
SUCCESS, OUT_OF_RESOURCES, WRONG_CLASS = 0x0000, 0xA700, 0x0122
PDU_BYTES = 1 << 17  # asked of the sender
# What a request for an association may take: 128 contexts with 64 transfer syntaxes of 64 letters
LARGEST_PDU: Final = 1 << 20
QUIET_SECONDS = 60.0  # an association that says nothing for so long is closed
SECONDS = 30.0  # that a PACS that is asked may be silent
_PREAMBLE = bytes(128) + b"DICM"


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """How the node is reached, and by whom.

    Attributes:
        host: address to listen on.
        port: 0 takes any that is free.
        ae_title: of the node; a sender must call it by this name.
        allowed: AE titles that may send; empty allows all.
        object_bytes: the largest object that is taken.
        associations: senders at the same time; each may hold one object in memory.
    """

    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "FOVEOLA"
    allowed: tuple[str, ...] = ()
    object_bytes: int = 256 << 20
    associations: int = 8

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.allowed):
            written = title.isascii() and title.isprintable() and "\\" not in title and title.strip()
            if not written or len(title) > 16:
                raise PacsError(f"{title!r} is no AE title; expected 1 to 16 ASCII letters, digits or signs")


class Node:
    """Listens for associations and spools what is stored.

    Args:
        spool: where objects go.
        settings: address, names, limits.
        classes: SOP Class UIDs that are taken; others are not agreed on.
        syntaxes: transfer syntaxes that are taken.
        arrived: called after each object.
    """

    def __init__(
        self,
        spool: Spool,
        settings: NodeSettings,
        *,
        classes: Collection[str],
        syntaxes: Collection[str],
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        self._spool, self._settings, self._arrived = spool, settings, arrived
        self._ae = _application_entity(settings, classes, syntaxes)
        # bytes of the object that an association is sending
        self._sizes: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def start(self) -> int:
        """Listen; returns the port.

        Raises:
            PacsError: the address can't be had.
        """
        address = (self._settings.host, self._settings.port)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, _bound_pdus),
            (evt.EVT_PDU_RECV, self._count),
            (evt.EVT_C_STORE, self._store),
        ]
        try:
            server: Any = self._ae.start_server(address, block=False, evt_handlers=handlers)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PacsError(f"can't listen on {address[0]} port {address[1]}: {reason}") from None
        return int(server.socket.getsockname()[1])

    def stop(self) -> None:
        """End the associations and listen no more."""
        self._ae.shutdown()

    def _count(self, event: Event) -> None:
        """Let what exceeds the largest object fall on the floor while it arrives.

        The sender is told at the object's end, and can go on with the next one.
        """
        if not isinstance(event.pdu, P_DATA_TF):
            return
        for item in event.pdu.presentation_data_value_items:
            value = item.presentation_data_value or b"\0"
            command = value[0] & 1  # of the next object
            size = 0 if command else self._sizes.get(event.assoc, 0) + len(value) - 1
            self._sizes[event.assoc] = size
            if size > self._settings.object_bytes:
                item.presentation_data_value = value[:1]

    def _store(self, event: Event) -> int:
        request: Any = event.request
        if request.AffectedSOPClassUID != event.context.abstract_syntax:
            return WRONG_CLASS
        if self._sizes.get(event.assoc, 0) > self._settings.object_bytes:
            return OUT_OF_RESOURCES
        head = _PREAMBLE + encode_file_meta(event.file_meta)
        try:
            self._spool.put([head, request.DataSet.getbuffer()])
        except OSError:
            return OUT_OF_RESOURCES
        self._arrived()
        return SUCCESS


def _application_entity(settings: NodeSettings, classes: Collection[str], syntaxes: Collection[str]) -> AE:
    entity = AE(settings.ae_title)
    entity.maximum_pdu_size = PDU_BYTES
    entity.maximum_associations = settings.associations
    entity.require_called_aet = True
    entity.require_calling_aet = list(settings.allowed)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = QUIET_SECONDS
    entity.add_supported_context(Verification)
    for each in classes:
        entity.add_supported_context(each, list(syntaxes))
    return entity


def _bound_pdus(event: Event) -> None:
    """Refuse a PDU that never ends, or that claims 4 GB, which pynetdicom would read."""
    socket: Any = event.assoc.dul.socket
    socket.socket.settimeout(QUIET_SECONDS)  # in the middle of a PDU it would wait for ever
    read = socket.recv

    def recv(count: int) -> bytearray:
        if count > LARGEST_PDU:
            raise OSError(f"a PDU of {count} bytes; expected at most {LARGEST_PDU}")
        return read(count)  # type: ignore[no-any-return]

    socket.recv = recv


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
    """A PACS that has no DICOMweb: asked by C-FIND, sent to by C-STORE.

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

    def header(self, reference: "Reference") -> Dataset:
        """Ask for patient and study of an instance; its UIDs are put to them.

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
        header = Dataset()
        for keyword in (*_PATIENT, *_STUDY):
            if keyword in found[0]:
                header[keyword] = found[0][keyword]
        header.StudyInstanceUID, header.SeriesInstanceUID = reference.study, reference.series
        header.SOPInstanceUID, header.SOPClassUID = reference.instance, reference.sop_class
        return header

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
