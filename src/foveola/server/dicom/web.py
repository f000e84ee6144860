"""A PACS by DICOMweb: find (QIDO-RS), retrieve (WADO-RS), store (STOW-RS); and who asks it.

No address, UID or credential is put into a message: they lead to patients, or in.
"""

import os
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmwrite
from pydicom.errors import InvalidDicomError
from requests.adapters import HTTPAdapter

from foveola.errors import FoveolaError, ImageError, PacsError
from foveola.server.limits import is_loopback

USER, PASSWORD, TOKEN = "FOVEOLA_PACS_USER", "FOVEOLA_PACS_PASSWORD", "FOVEOLA_PACS_TOKEN"
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
# Patient, study and image modules, as far as a report on the image repeats them
HEADER = (
    *("00080005", "00080016", "00080018", "00080020", "00080030", "00080050", "00080080", "00080090", "00081030"),
    *("00100010", "00100020", "00100021", "00100030", "00100040", "0020000D", "0020000E", "00200010", "00280008"),
)


@dataclass(frozen=True, repr=False)
class Credentials:
    """Who asks: a user with a password, or a bearer token; nothing where both are None."""

    user: str | None = None
    password: str | None = None
    token: str | None = None

    @classmethod
    def load(cls, file: Path | None) -> "Credentials":
        """Read a TOML file with `user` and `password`, or `token`; without one the environment.

        Raises:
            PacsError: others can read the file, or it says something else.
        """
        if file is None:
            return cls(*map(os.environ.get, (USER, PASSWORD, TOKEN)))
        try:
            with file.open("rb") as opened:
                if os.fstat(opened.fileno()).st_mode & 0o077:
                    raise PacsError(f"others can read {file.name}; make it yours: chmod 600")
                values = tomllib.load(opened)
        except (OSError, ValueError):
            raise PacsError(f"{file.name} can't be read as a TOML file of credentials") from None
        if not values or not set(values) <= {"user", "password", "token"}:
            raise PacsError(f"{file.name}: expected user and password, or token, and nothing else")
        return cls(**{key: str(value) for key, value in values.items()})

    def apply(self, session: requests.Session) -> None:
        """Let a session speak for them."""
        if self.token:
            session.headers["Authorization"] = f"Bearer {self.token}"
        elif self.user:
            session.auth = (self.user, self.password or "")


def check_url(url: str, *, clear: bool) -> str:
    """Return host and port of a URL that can be used.

    >>> check_url("https://pacs.example:8443/dicom-web", clear=False)
    'pacs.example:8443'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise PacsError("expected the URL of a DICOMweb service, https://pacs.example/dicom-web")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise PacsError(
            "a URL must hold no credentials and no query; put credentials into a file "
            f"(--credentials) or into {USER} and {PASSWORD}, or {TOKEN}"
        )
    if parts.scheme == "http" and not clear and not (host == "localhost" or is_loopback(host)):
        raise PacsError(
            "http to another computer shows patients' data to the network; use https, or say "
            "--clear where the network itself is protected"
        )
    return host if port is None else f"{host}:{port}"


class Session(requests.Session):
    """Goes where it was told to, and not where an answer sends it on to."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where an answer sends on to, if that is the same computer.

        Raises:
            PacsError: another computer, port or scheme: it would be asked for patients by their
                numbers, and be given what was meant for the PACS.
        """
        target = super().get_redirect_target(resp)
        if target is not None:
            own, other = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
            if (own.scheme, own.netloc) != (other.scheme, other.netloc):
                resp.close()
                raise PacsError(
                    f"the PACS at {own.hostname} sends on to another address, which is not "
                    "followed; give that one, if it is meant"
                )
        return target


class BoundedAdapter(HTTPAdapter):
    """Ends an answer that is larger than any should be, while it arrives.

    Args:
        most: bytes, unpacked.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        super().__init__()

    def send(self, *args: Any, **keywords: Any) -> requests.Response:
        """Send as requests does, with a bound on the answer."""
        response = super().send(*args, **keywords)
        response.raw = _Bounded(response.raw, self._most)
        return response


class _Bounded:
    """A body that counts what is read of it."""

    def __init__(self, raw: Any, most: int) -> None:
        self._raw, self._left = raw, most

    def stream(self, *args: Any, **keywords: Any) -> Iterator[bytes]:
        for piece in self._raw.stream(*args, **keywords):
            self._left -= len(piece)
            if self._left < 0:
                self._raw.close()
                raise ImageError("the PACS sent an object larger than is taken (--object-mb)")
            yield piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


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
        """Return what tells this PACS from another without saying where it is."""
        return blake2b(self.url.encode(), digest_size=16).hexdigest()

    def studies(self, filters: Mapping[str, str]) -> Iterator[tuple[str, int | None]]:
        """Find Study Instance UIDs, and of how many instances each consists where that is said."""
        fields = ["NumberOfStudyRelatedInstances"]
        for found in self._paged(self._client.search_for_studies, filters, fields):
            count = _value(found, "00201208")
            if uid := _value(found, "0020000D"):
                yield str(uid), None if count is None else int(count)

    def instances(self, study: str | None = None, filters: Mapping[str, str] | None = None) -> Iterator[Reference]:
        """Find the instances of a study, or of the PACS."""
        keywords = {} if study is None else {"study_instance_uid": study}
        fields = ["SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]
        for found in self._paged(self._client.search_for_instances, filters or {}, fields, **keywords):
            sop_class, uid = _value(found, "00080016"), _value(found, "00080018")
            series = _value(found, "0020000E")
            own = study or _value(found, "0020000D")
            if uid and series and own:
                yield Reference(str(own), str(series), str(uid), str(sop_class or ""))

    def retrieve(self, reference: Reference) -> bytes:
        """Fetch an instance as a DICOM file, in the transfer syntax in which it is stored.

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
        """Fetch patient, study and UIDs of an instance, without its pixels.

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
            failed = "".join(
                f" (Failure Reason (0008,1197) {item.get('FailureReason', 0):#06x})"
                for item in _items(answer, "Failed")[:1]
            )
            raise PacsError(f"the PACS at {self.host} did not store the report{failed}")

    def get_json(self, url: str) -> Any:
        """Fetch what lies at an address beside the DICOMweb ones; None where nothing does.

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
        """Fetch an object that lies at an address; raises as `retrieve` does."""
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
            if status in (401, 403):
                raise kind(f"the PACS at {self.host} refuses these credentials ({status})") from None
            raise kind(f"the PACS at {self.host} answered {status} when asked {what}") from None
        except requests.exceptions.SSLError:
            raise PacsError(f"the certificate of {self.host} can't be verified; name the authority with --ca") from None
        except UNEXPECTED:
            raise broken(f"the PACS at {self.host} answered with something else when asked {what}") from None
        except requests.RequestException:
            raise PacsError(f"the PACS at {self.host} can't be reached") from None


def to_bytes(found: Dataset) -> bytes:
    """Encode a dataset as a DICOM file."""
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
