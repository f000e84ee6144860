"""Ask a running Foveola service from Python.

    from foveola.client import Client

    with Client("http://127.0.0.1:8321") as client:
        for hit in client.search(Path("fundus.jpg"), k=5, where="grade >= 2").hits:
            print(hit.rank, hit.similarity, hit.case.grade)

Needs httpx (`pip install 'foveola[serve]'`) and loads neither numpy nor a model. docs/reference/rest.md
lists what can be asked.
"""

from foveola.answers import (
    Added,
    Candidate,
    EyeReading,
    Hit,
    Job,
    MatchAnswer,
    Person,
    ReadAnswer,
    SearchAnswer,
    StoredCase,
)
from foveola.client.client import (
    BusyServiceError,
    Client,
    ConflictError,
    ForbiddenError,
    InvalidError,
    JobFailedError,
    NotFoundError,
    UnreachableError,
)
from foveola.errors import ServiceError

__all__ = [
    "Added",
    "BusyServiceError",
    "Candidate",
    "Client",
    "ConflictError",
    "EyeReading",
    "ForbiddenError",
    "Hit",
    "InvalidError",
    "Job",
    "JobFailedError",
    "MatchAnswer",
    "NotFoundError",
    "Person",
    "ReadAnswer",
    "SearchAnswer",
    "ServiceError",
    "StoredCase",
    "UnreachableError",
]
