"""A C-STORE node: takes photographs that a PACS sends, and answers C-ECHO.

An object is acknowledged when it lies in the spool, not before, so that nothing acknowledged is
lost; indexing follows (`foveola.server.dicom.worker`).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from pydicom import uid
from pynetdicom import AE, evt
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from foveola.errors import PacsError
from foveola.server.dicom.spool import Spool

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
            if not _is_ae_title(title):
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


def _is_ae_title(title: str) -> bool:
    printable = title.isascii() and title.isprintable() and "\\" not in title
    return printable and bool(title.strip()) and len(title) <= 16


__all__ = ["SYNTAXES", "Node", "NodeSettings"]
