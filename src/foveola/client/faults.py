"""What can go wrong when a service is asked; each says in one sentence what the service said."""

from foveola.errors import ServiceError


class UnreachableError(ServiceError):
    """Nobody answers at the address, or not in time."""


class ForbiddenError(ServiceError):
    """The service wants to know who asks (401), or does not allow it (403)."""


class NotFoundError(ServiceError):
    """There is no such case, job or address (404)."""


class ConflictError(ServiceError):
    """It does not fit what the archive holds, or a job has ended (409)."""


class InvalidError(ServiceError):
    """The photograph, the condition or a number can't be used (400, 413, 422)."""


class BusyServiceError(ServiceError):
    """The service can't answer now, and could not after several tries (429, 503)."""


class JobFailedError(ServiceError):
    """A job that was waited for failed, was cancelled or was interrupted."""


_KINDS = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: InvalidError,
    422: InvalidError,
    429: BusyServiceError,
    503: BusyServiceError,
}


def fault(status: int, sentence: str | None) -> ServiceError:
    """For an answer with this status; `sentence` is None where it came without one."""
    kind = _KINDS.get(status, ServiceError)
    return kind(sentence or f"the service answered with status {status} and no sentence")
