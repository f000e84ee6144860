"""What a service answers, as plain typed values. Meanings and units are those of docs/reference/rest.md.

A newer service may say more than a client knows: what is not named here is passed over.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from foveola.errors import ServiceError
from foveola.records import Eye, Scalar

T = TypeVar("T")
Order = Literal["learned", "looks", "both"]


@dataclass(frozen=True)
class StoredCase:
    """A case of the archive; None is unknown. Its photograph is asked for by its id."""

    id: int
    subject: str | None
    collection: str
    eye: Eye | None
    visit: float | str | None
    grade: int | None
    findings: frozenset[str] | None
    extra: Mapping[str, Scalar]


@dataclass(frozen=True)
class Share:
    """A share from 0 to 1 with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class HitTrust:
    """How far to trust a hit, see docs/explanation/trust.md."""

    label: str | None
    same: float | None
    other: float | None
    agreement: Share | None
    sufficient: bool


@dataclass(frozen=True)
class Looks:
    """Whether a picture is a photograph of the retina."""

    unlike: float | None
    foreign: bool
    poor: bool
    camera: str | None


@dataclass(frozen=True)
class LabelShare:
    """How many of 100 photographs like the query have a label value, as a share from 0 to 1."""

    value: str
    share: Share


@dataclass(frozen=True)
class Suggestion:
    """What the archive suggests of a photograph, most likely value first; see docs/explanation/trust.md."""

    label: str
    shares: tuple[LabelShare, ...]
    several: bool
    people: int
    new: bool
    unlearnt: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueryTrust:
    """How far to trust an answer, see docs/explanation/trust.md."""

    suggestion: Suggestion | None
    nearest: float | None
    threshold: float | None
    false_reject: float
    sufficient: bool
    looks: Looks
    trained: float | None


@dataclass(frozen=True)
class Hit:
    """A similar case: rank from 1, cosine and score, by which it is ranked, from -1 to 1."""

    rank: int
    similarity: float
    score: float
    case: StoredCase
    trust: HitTrust | None


@dataclass(frozen=True)
class SearchAnswer:
    """What a search found, best first; `sentences` say how far to trust it.

    Ordered by what the archive learnt of `label`, which is `recorded` for so many, or by looks.
    """

    hits: tuple[Hit, ...]
    order: Order
    label: str | None
    recorded: int | None
    considered: int | None
    excluded_same_subject: int | None
    in_archive: bool | None
    gradability: float
    trust: QueryTrust
    sentences: tuple[str, ...]
    encoder: str
    fingerprint: str
    milliseconds: float


@dataclass(frozen=True)
class EyeReading:
    """What is said of one eye by itself; probabilities by label, gradability from 0 to 1."""

    probabilities: Mapping[str, float]
    gradability: float


@dataclass(frozen=True)
class Person:
    """A similar person, at one visit; `left` and `right` are the photographs there are."""

    rank: int
    similarity: float
    subject: str | None
    visit: float | str | None
    grade: int | None
    findings: frozenset[str] | None
    left: StoredCase | None
    right: StoredCase | None


@dataclass(frozen=True)
class ReadAnswer:
    """Probabilities of findings by label, for whoever looks at the photographs; no diagnosis."""

    probabilities: Mapping[str, float]
    thresholds: Mapping[str, float]
    found: tuple[str, ...]
    eyes: Mapping[str, EyeReading]
    warnings: tuple[str, ...]
    similar: tuple[Person, ...]
    similar_missing: str | None
    reader: str
    fingerprint: str
    milliseconds: float


@dataclass(frozen=True)
class Evidence:
    """What the probability of a candidate rests on."""

    cosine: float
    features_that_agree: int
    correlation: float
    overlap: float


@dataclass(frozen=True)
class Candidate:
    """A photograph of the archive that may show the eye."""

    rank: int
    probability: float
    case: StoredCase
    months_to_query: float | None
    evidence: Evidence


@dataclass(frozen=True)
class MatchAnswer:
    """Whether the archive holds other photographs of an eye; `verdict` says it in words."""

    match: bool
    verdict: str
    probability_of_none: float
    candidates: tuple[Candidate, ...]
    considered: int
    in_archive: bool
    prior: float
    most_probable: float
    purpose: str
    encoder: str


@dataclass(frozen=True)
class Added:
    """A case that is in the archive now; not `new` where the same was there before."""

    case: StoredCase
    new: bool
    gradability: float | None
    foreign: bool | None


@dataclass(frozen=True)
class Job:
    """Work of the service and how far it is; `result` holds numbers, `sentence` why it failed."""

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    done: int
    total: int | None
    sentence: str | None
    result: Mapping[str, int | Mapping[str, int]]
    created: str
    ended: str | None

    @property
    def open(self) -> bool:
        """Whether it waits or is at work."""
        return self.state in ("queued", "running")


def made(kind: type[T], values: Any) -> T:
    """An answer of a kind from what JSON holds.

    Raises:
        ServiceError: something is missing: this is no Foveola service, or an older one.
    """
    try:
        return _made(kind, values)  # type: ignore[no-any-return]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServiceError(
            f"the service's answer is no {kind.__name__} ({type(error).__name__}); is it a "
            "Foveola service, and not older than this client?"
        ) from None


def _made(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{f.name: _made(hints[f.name], value[f.name]) for f in fields(kind)})
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _of_union(inner, value)
    if origin is tuple:
        return tuple(_made(inner[0], each) for each in value)
    if origin is frozenset:
        return frozenset(value)
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {key: _made(inner[1], each) for key, each in value.items()}
    return value


def _of_union(inner: tuple[Any, ...], value: Any) -> Any:
    """The first member that is more than a plain value, or the value itself."""
    made_of = [kind for kind in inner if is_dataclass(kind) or get_origin(kind) is frozenset]
    return _made(made_of[0], value) if made_of else value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
