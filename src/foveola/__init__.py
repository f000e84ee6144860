"""Foveola: similar-case search for retinal photographs.

    from foveola import Retriever
    with Retriever.open(Path("archive")) as retriever:
        for hit in retriever.search(Path("fundus.jpg")).hits: print(hit.similarity, hit.case.grade)

It supports a clinician and never states a diagnosis.
"""

TYPE_CHECKING = False  # typing takes longer to import than all else that a command begins with
if TYPE_CHECKING:
    from typing import Any

    from foveola.archive import Archive
    from foveola.assessment import assess
    from foveola.cases import Case
    from foveola.datasets.manifest import Manifest
    from foveola.encoders.encoder import Encoder
    from foveola.errors import FoveolaError
    from foveola.evaluation import Evaluation, evaluate
    from foveola.images.decode import decode
    from foveola.images.fundus import Contract
    from foveola.indexing import add_missing
    from foveola.people_search import PersonHit, PersonResult
    from foveola.retrieval import Hit, Retriever, SearchResult

# Where each public name lives. Resolved on first use: `import foveola` must stay quick.
_HOME = {
    "Archive": "archive",
    "Case": "cases",
    "Contract": "images.fundus",
    "Encoder": "encoders.encoder",
    "Evaluation": "evaluation",
    "FoveolaError": "errors",
    "Hit": "retrieval",
    "Manifest": "datasets.manifest",
    "PersonHit": "people_search",
    "PersonResult": "people_search",
    "Retriever": "retrieval",
    "SearchResult": "retrieval",
    "add_missing": "indexing",
    "assess": "assessment",
    "decode": "images.decode",
    "evaluate": "evaluation",
}

__all__ = [
    "Archive",
    "Case",
    "Contract",
    "Encoder",
    "Evaluation",
    "FoveolaError",
    "Hit",
    "Manifest",
    "PersonHit",
    "PersonResult",
    "Retriever",
    "SearchResult",
    "add_missing",
    "assess",
    "decode",
    "evaluate",
]


def __getattr__(name: str) -> "Any":
    if name not in _HOME:
        raise AttributeError(f"module 'foveola' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"foveola.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
