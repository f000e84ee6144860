"""A PACS by DICOMweb: find (QIDO-RS), retrieve (WADO-RS), store (STOW-RS).

No address, UID or credential is put into a message: they lead to patients, or in.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmwrite
from pydicom.errors import InvalidDicomError

from foveola.errors import FoveolaError, ImageError, PacsError
from foveola.server.dicom.access import BoundedAdapter, Credentials, Session, check_url

PAGE = 200  # results asked for at a time
SECONDS = (10.0, 120.0)  # to connect, and between two pieces of an answer
ANY_SYNTAX = (("application/dicom", "*"),)  # as it is stored: nothing is decoded on the way


# What comes of an answer that is no DICOM, no JSON, or nested without end.
UNEXPECTED = (
    requests.exceptions.JSONDecodeError,
    InvalidDicomError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    EOFError,
    RecursionError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Reference:
    """Where an instance lies in a PACS: its original UIDs."""

    study: str
    series: str
    instance: str
    sop_class: str = ""


class Pacs:
    """A DICOMweb service.

    Args:
        url: its root, as https://pacs.example/dicom-web.
        credentials: who asks.
        authority: file of the certificate authority, where it is the hospital's own.
        clear: allow http to another computer, without TLS.
        answer_bytes: the largest answer that is taken.

    Raises:
        PacsError: the URL can't be used.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        authority: Path | None = None,
        clear: bool = False,
        answer_bytes: int = 512 << 20,
    ) -> None:
        self.host = check_url(url, clear=clear)
        self.url = url.rstrip("/")
        self.session = Session()
        (credentials or Credentials()).apply(self.session)
        if authority is not None:
            if not authority.is_file():
                raise PacsError(f"{authority} is missing; expected certificates (PEM)")
            self.session.verify = str(authority)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, BoundedAdapter(answer_bytes))
        self._client = DICOMwebClient(self.url, session=self.session, timeout=SECONDS)
        self._client.set_http_retry_params(retry=False)

    @property
    def fingerprint(self) -> str:
        """Tells this PACS from another without saying where it is."""
        return blake2b(self.url.encode(), digest_size=16).hexdigest()

    def studies(self, filters: Mapping[str, str]) -> Iterator[tuple[str, int | None]]:
        """Study Instance UIDs, and of how many instances each consists where that is said."""
        fields = ["NumberOfStudyRelatedInstances"]
        for found in self._paged(self._client.search_for_studies, filters, fields):
            uid = _value(found, "0020000D")
            count = _value(found, "00201208")
            if uid:
                yield str(uid), None if count is None else int(count)

    def instances(self, study: str | None = None, filters: Mapping[str, str] | None = None) -> Iterator[Reference]:
        """The instances of a study, or of the PACS."""
        keywords = {} if study is None else {"study_instance_uid": study}
        fields = ["SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]
        for found in self._paged(self._client.search_for_instances, filters or {}, fields, **keywords):
            sop_class, uid = _value(found, "00080016"), _value(found, "00080018")
            series = _value(found, "0020000E")
            own = study or _value(found, "0020000D")
            if uid and series and own:
                yield Reference(str(own), str(series), str(uid), str(sop_class or ""))

    def retrieve(self, reference: Reference) -> bytes:
        """The instance as a DICOM file, in the transfer syntax in which it is stored.

        Raises:
            ImageError: the PACS does not have it any more, or it is too large or damaged.
            PacsError: the PACS can't be reached, or refuses.
        """
        with self._faults("for an image", ImageError):
            found = self._client.retrieve_instance(
                reference.study, reference.series, reference.instance, media_types=ANY_SYNTAX
            )
            return to_bytes(found)

    def header(self, reference: Reference) -> Dataset:
        """Patient, study and UIDs of an instance, without its pixels.

        Raises:
            PacsError: it can't be had.
        """
        with self._faults("for the header of an image"):
            found = self._client.retrieve_instance_metadata(reference.study, reference.series, reference.instance)
            wanted = {tag: found[tag] for tag in HEADER if tag in found}
            header = Dataset.from_json(wanted)
        for keyword, value in (
            ("StudyInstanceUID", reference.study),
            ("SeriesInstanceUID", reference.series),
            ("SOPInstanceUID", reference.instance),
        ):
            setattr(header, keyword, value)
        return header

    def store(self, made: Dataset) -> None:
        """Send an instance.

        Raises:
            PacsError: it was not stored.
        """
        with self._faults("to store a report"):
            answer = self._client.store_instances([made])
        stored = {item.get("ReferencedSOPInstanceUID") for item in _items(answer, "Referenced")}
        if answer and made.SOPInstanceUID not in stored:
            raise PacsError(f"the PACS at {self.host} did not store the report{_failure(answer)}")

    def get_json(self, url: str) -> Any:
        """What lies at an address beside the DICOMweb ones; None where nothing does.

        Raises:
            PacsError: the PACS can't be reached, or refuses.
        """
        with self._faults("for its list of changes"):
            answer = self.session.get(url, timeout=SECONDS)
            if answer.status_code in (404, 405):
                return None
            answer.raise_for_status()
            return answer.json()

    def get_bytes(self, url: str) -> bytes:
        """An object that lies at an address; raises as `retrieve` does."""
        with self._faults("for an image", ImageError):
            answer = self.session.get(url, timeout=SECONDS)
            answer.raise_for_status()
            return answer.content

    def _paged(
        self, search: Any, filters: Mapping[str, str], fields: list[str], **keywords: str
    ) -> Iterator[dict[str, Any]]:
        """All results, page by page, also from a PACS that does not know offsets."""
        seen: set[str] = set()
        offset = 0
        while True:
            with self._faults("for what it holds"):
                page = search(search_filters=dict(filters), fields=fields, limit=PAGE, offset=offset, **keywords)
                new = [found for found in page if _key(found) not in seen]
                seen |= {_key(found) for found in new}
            yield from new
            offset += len(page)
            if not new:  # a short page proves nothing: it may be the most that the PACS gives
                return

    @contextmanager
    def _faults(self, what: str, broken: type[FoveolaError] = PacsError) -> Iterator[None]:
        """Turn what a PACS can do to us into one sentence without an address.

        What is the fault of one object, and not of the PACS, is raised as `broken`.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they quote values of elements
                yield
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            kind = broken if status in (404, 410) else PacsError
            raise kind(_refusal(self.host, what, status)) from None
        except requests.exceptions.SSLError:
            raise PacsError(f"the certificate of {self.host} can't be verified; name the authority with --ca") from None
        except UNEXPECTED:
            raise broken(f"the PACS at {self.host} answered with something else when asked {what}") from None
        except requests.RequestException:
            raise PacsError(f"the PACS at {self.host} can't be reached") from None


# Patient, study and image modules, as far as a report on the image repeats them
HEADER = (
    "00080005",
    "00080016",
    "00080018",
    "00080020",
    "00080030",
    "00080050",
    "00080080",
    "00080090",
    "00081030",
    "00100010",
    "00100020",
    "00100021",
    "00100030",
    "00100040",
    "0020000D",
    "0020000E",
    "00200010",
    "00280008",
)


def to_bytes(found: Dataset) -> bytes:
    """A dataset as a DICOM file."""
    out = BytesIO()
    dcmwrite(out, found, enforce_file_format=True)
    return out.getvalue()


def _value(found: Mapping[str, Any], tag: str) -> Any:
    values = found.get(tag, {}).get("Value") or [None]
    return values[0]


def _key(found: Mapping[str, Any]) -> str:
    return f"{_value(found, '0020000D')} {_value(found, '00080018')}"


def _items(answer: Dataset, which: str) -> list[Dataset]:
    return list(answer.get(f"{which}SOPSequence") or [])


def _failure(answer: Dataset) -> str:
    for item in _items(answer, "Failed"):
        return f" (Failure Reason (0008,1197) {item.get('FailureReason', 0):#06x})"
    return ""


def _refusal(host: str, what: str, status: int) -> str:
    if status in (401, 403):
        return f"the PACS at {host} refuses these credentials ({status})"
    return f"the PACS at {host} answered {status} when asked {what}"


__all__ = ["Pacs", "Reference", "to_bytes"]
