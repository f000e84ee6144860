"""Foveola: similar-case search for retinal photographs.

    from foveola import Retriever
    with Retriever.open(Path("archive")) as retriever:
        for hit in retriever.search(Path("fundus.jpg")).hits: print(hit.similarity, hit.case.grade)

It supports a clinician and never states a diagnosis.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveola.archive import Archive
    from foveola.assessment import assess
    from foveola.cases import Case
    from foveola.datasets.manifest import Manifest
    from foveola.encoders.encoder import Encoder
    from foveola.errors import FoveolaError
    from foveola.evaluation import Difference, Evaluation, Metric, compare, evaluate
    from foveola.images.decode import decode
    from foveola.images.fundus import Contract
    from foveola.index import Index, IndexResult
    from foveola.indexing import add_missing
    from foveola.matching.pair import EyeMatch, match
    from foveola.people_search import PersonHit, PersonResult
    from foveola.reading import Reading, read
    from foveola.retrieval import Hit, Retriever, SearchResult

# Where each public name lives. Resolved on first use: `import foveola` must stay quick.
_HOME = {
    "Archive": "archive",
    "Case": "cases",
    "Contract": "images.fundus",
    "Difference": "evaluation",
    "Encoder": "encoders.encoder",
    "Evaluation": "evaluation",
    "EyeMatch": "matching.pair",
    "FoveolaError": "errors",
    "Hit": "retrieval",
    "Index": "index",
    "IndexResult": "index",
    "Manifest": "datasets.manifest",
    "Metric": "evaluation",
    "PersonHit": "people_search",
    "PersonResult": "people_search",
    "Reading": "reading",
    "Retriever": "retrieval",
    "SearchResult": "retrieval",
    "add_missing": "indexing",
    "assess": "assessment",
    "decode": "images.decode",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "match": "matching.pair",
    "read": "reading",
}

__all__ = [
    "Archive",
    "Case",
    "Contract",
    "Difference",
    "Encoder",
    "Evaluation",
    "EyeMatch",
    "FoveolaError",
    "Hit",
    "Index",
    "IndexResult",
    "Manifest",
    "Metric",
    "PersonHit",
    "PersonResult",
    "Reading",
    "Retriever",
    "SearchResult",
    "add_missing",
    "assess",
    "compare",
    "decode",
    "evaluate",
    "match",
    "read",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'foveola' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"foveola.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
