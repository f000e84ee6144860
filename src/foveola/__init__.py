"""Foveola: similar-case search for retinal photographs.

    import foveola as fv

    encoder = fv.Encoder.load()
    vectors = encoder.encode(["a.jpg", "b.jpg"])              # or arrays, or PIL images
    result = fv.evaluate(vectors, grades, groups=subjects)    # result["mAP@10"].macro
    index = fv.Index(vectors, labels=grades, groups=subjects)
    archive = fv.Archive.open("archive/")
    archive.search("fundus.jpg", k=5, where="grade >= 2")
    fv.read("left.jpg", "right.jpg").probabilities
    fv.match("one.jpg", "other.jpg").probability

`foveola.losses` and `foveola.models` need torch. docs/tutorials/python.md tells the rest.

It supports a clinician and never states a diagnosis.
"""

TYPE_CHECKING = False  # typing takes longer to import than all else that a command begins with
if TYPE_CHECKING:
    from typing import Any

    from foveola.assessment import assess
    from foveola.datasets.manifest import Manifest
    from foveola.encoders.encoder import Encoder
    from foveola.errors import FoveolaError
    from foveola.images.decode import decode
    from foveola.images.fundus import Contract
    from foveola.index import Index, IndexResult
    from foveola.indexing import add_missing
    from foveola.matching.pair import EyeMatch, match
    from foveola.metrics import Difference, Evaluation, Metric, compare, evaluate
    from foveola.people_search import PersonHit, PersonResult
    from foveola.reading import Reading, read
    from foveola.records import Case
    from foveola.retrieval import Archive, Hit, Retriever, SearchResult

# Where each public name lives. Resolved on first use: `import foveola` must stay quick.
_HOME = {
    "Archive": "retrieval",
    "Case": "records",
    "Contract": "images.fundus",
    "Difference": "metrics",
    "Encoder": "encoders.encoder",
    "Evaluation": "metrics",
    "EyeMatch": "matching.pair",
    "FoveolaError": "errors",
    "Hit": "retrieval",
    "Index": "index",
    "IndexResult": "index",
    "Manifest": "datasets.manifest",
    "Metric": "metrics",
    "PersonHit": "people_search",
    "PersonResult": "people_search",
    "Reading": "reading",
    "Retriever": "retrieval",
    "SearchResult": "retrieval",
    "add_missing": "indexing",
    "assess": "assessment",
    "decode": "images.decode",
    "compare": "metrics",
    "evaluate": "metrics",
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


# Packages that are asked for as attributes; they need what `pip install 'foveola[train]'` brings.
_TRAINING = ("losses", "models")


def __getattr__(name: str) -> "Any":
    import importlib

    if name in _HOME:
        return getattr(importlib.import_module(f"foveola.{_HOME[name]}"), name)
    if name not in _TRAINING:
        raise AttributeError(f"module 'foveola' has no attribute {name!r}")
    try:
        return importlib.import_module(f"foveola.{name}")
    except ModuleNotFoundError as error:
        from foveola.errors import MissingExtraError

        raise MissingExtraError(
            f"foveola.{name} needs {error.name}, which is not installed. Run: pip install 'foveola[train]'"
        ) from error


def __dir__() -> list[str]:
    return [*__all__, *_TRAINING]
