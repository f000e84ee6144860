"""What it takes to ask a PACS over the web: an address, credentials, a bound on its answers."""

import ipaddress
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from foveola.errors import ImageError, PacsError

USER, PASSWORD, TOKEN = "FOVEOLA_PACS_USER", "FOVEOLA_PACS_PASSWORD", "FOVEOLA_PACS_TOKEN"


@dataclass(frozen=True, repr=False)
class Credentials:
    """Who asks: a user with a password, or a bearer token; nothing where both are None."""

    user: str | None = None
    password: str | None = None
    token: str | None = None

    @classmethod
    def load(cls, file: Path | None) -> "Credentials":
        """From a TOML file with `user` and `password`, or `token`; without one the environment.

        Raises:
            PacsError: others can read the file, or it says something else.
        """
        if file is None:
            said = {k: os.environ.get(k) for k in (USER, PASSWORD, TOKEN)}
            return cls(said[USER], said[PASSWORD], said[TOKEN])
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
    """Host and port of a URL that can be used."""
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
    if parts.scheme == "http" and not clear and not _is_here(host):
        raise PacsError(
            "http to another computer shows patients' data to the network; use https, or say "
            "--clear where the network itself is protected"
        )
    return host if port is None else f"{host}:{port}"


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Session(requests.Session):
    """Goes where it was told to, and not where an answer sends it on to."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """As requests calls it.

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
        """As requests calls it."""
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


__all__ = ["PASSWORD", "TOKEN", "USER", "BoundedAdapter", "Credentials", "Session", "check_url"]
