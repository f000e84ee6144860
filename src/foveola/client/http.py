"""Requests to a service: timeouts, tokens, tries again when it asks for that."""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foveola.client.faults import UnreachableError, fault
from foveola.errors import MissingExtraError

if TYPE_CHECKING:
    import httpx

TOKEN = "FOVEOLA_TOKEN"  # noqa: S105 - the name of a variable in the environment
AGAIN = (429, 503)
LONGEST = 60.0  # seconds that are waited between two tries


class Http:
    """A connection to a service, kept open.

    Args:
        address: of the service, such as http://127.0.0.1:8321.
        token: of an account; None takes it from FOVEOLA_TOKEN, where that is set.
        timeout: seconds that an answer may take.
        retries: tries more when the service says that it can't answer now.
    """

    def __init__(self, address: str, token: str | None, timeout: float, retries: int) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingExtraError(
                "the client needs httpx, which is not installed. Run: pip install 'foveola[serve]'"
            ) from None
        token = token or os.environ.get(TOKEN)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._address, self._timeout, self._retries = address.rstrip("/"), timeout, retries
        try:
            self._client = httpx.Client(
                base_url=f"{self._address}/api/v1",
                headers=headers,
                timeout=timeout,
                follow_redirects=False,  # the token and the photographs are for this address
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise UnreachableError(f"{address!r} is no address of a service: {error}") from None

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        again: bool = True,
        files: Mapping[str, bytes] | None = None,
        data: Mapping[str, Any] | None = None,
        **further: Any,
    ) -> "httpx.Response":
        """An answer that is no refusal.

        Args:
            method: GET, POST or DELETE.
            path: below /api/v1.
            again: whether to try again where the service says that it can't answer now.
            files: photographs by the name of their field; sent without names of files.
            data: fields of the form; those that are None are left out.
            further: passed on to httpx: `params`, `json`.

        Raises:
            ServiceError: it is one, or there is none; the subclass says which.
        """
        sent = (
            None if files is None else {name: (name, data, "application/octet-stream") for name, data in files.items()}
        )
        form = None if data is None else {k: v for k, v in data.items() if v is not None}
        for tries in range(self._retries + 1):
            answer = self._once(method, path, files=sent, data=form, **further)
            if answer.is_success:
                return answer
            if not again or answer.status_code not in AGAIN or tries == self._retries:
                break
            time.sleep(_pause(answer, tries))
        raise fault(answer.status_code, _sentence(answer))

    def _once(self, method: str, path: str, **sent: Any) -> "httpx.Response":
        import httpx

        try:
            return self._client.request(method, path, **sent)
        except httpx.TimeoutException:
            raise UnreachableError(f"{self._address} did not answer within {self._timeout:g} s") from None
        except httpx.UnsupportedProtocol:
            raise UnreachableError(f"{self._address!r} is no address of a service; expected http://HOST:PORT") from None
        except httpx.TransportError as error:
            raise UnreachableError(
                f"nobody answers at {self._address} ({type(error).__name__}); is the service "
                "started? (foveola serve ARCHIVE)"
            ) from None


def _pause(answer: "httpx.Response", tries: int) -> float:
    """Seconds until the next try: as the service says, or longer each time."""
    said = answer.headers.get("retry-after", "")
    return min(float(said) if said.isdecimal() else 0.5 * 2**tries, LONGEST)


def _sentence(answer: "httpx.Response") -> str | None:
    try:
        said = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return None
    return said if isinstance(said, str) else None
