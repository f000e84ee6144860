"""How well subjects are found again: the protocol, what is measured, and the published tables.

    evaluate_matching(descriptors, cases)
    evaluate_matching(rows[0], cases, similarity=ensemble(rows))    # several models as one

Source: Nguyen et al., MICCAI 2022 (docs/explanation/methods.md, Protocol of follow-ups): the gallery
holds the first visit of everyone, and later visits ask. Fundus photographs take an eye of a subject
for the identity, as the two eyes of a person are not alike as two knees are (our reading).

Letters: M models, N images, D width of a descriptor.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foveola.errors import FoveolaError
from foveola.metrics.estimates import Estimate
from foveola.metrics.identification import METRICS, Identification, IdentityData, Rejection, identify, reject
from foveola.metrics.verification import Rate
from foveola.notebook import Rows, aligned, number, piped, ranged
from foveola.records import Case

Identity = tuple[str, ...]
Unit = Literal["days", "months", "years"]

DAYS: dict[Unit, float] = {"days": 1.0, "months": 365.25 / 12, "years": 365.25}
SAME = "same visit or unknown"
Vectors = NDArray[np.float32]
SHOWN = ("mAP", "mAP@R", "rank-1", "rank-5", "CMC@1")
How = Literal["distances", "features"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How photographs are parted into gallery and queries.

    Attributes:
        identity: what is to be found again: a "subject", or an "eye" of one.
        gallery: "first" ranks the first visit of each identity and lets the later ones ask, as
            published; "others" lets every photograph ask all others.
        time: column that says when a photograph was taken: "visit", or a further one of the
            manifest; a number, or an ISO date.
        unit: of those numbers, and of the edges.
        edges: rising times at which the queries are parted, such as 7, 30 and 365 days; empty
            for whole years, as published.
    """

    identity: Literal["subject", "eye"] = "eye"
    gallery: Literal["first", "others"] = "first"
    time: str = "visit"
    unit: Unit = "months"
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.identity not in ("subject", "eye"):
            raise ValueError(f"identity is {self.identity!r}; expected 'subject' or 'eye'")
        if self.gallery not in ("first", "others"):
            raise ValueError(f"gallery is {self.gallery!r}; expected 'first' or 'others'")
        if self.unit not in DAYS:
            raise ValueError(f"unit is {self.unit!r}; expected {', '.join(DAYS)}")
        if list(self.edges) != sorted(set(self.edges)) or any(e <= 0 for e in self.edges):
            raise ValueError(f"edges are {self.edges}; expected rising times above 0")

    def identity_of(self, case: Case) -> Identity | None:
        """Return what photographs of one identity share; None where it is unknown."""
        if case.subject is None or (self.identity == "eye" and case.eye is None):
            return None
        return (*case.identity, case.eye or "") if self.identity == "eye" else case.identity

    def taken(self, case: Case) -> float | None:
        """Return days on some scale of the subject's own; None where it is unknown.

        Raises:
            FoveolaError: the column holds neither a number nor a date.
        """
        value = case.visit if self.time == "visit" else case.extra.get(self.time)
        if value is None or value == "":
            return None
        try:
            if isinstance(value, str) and "-" in value[1:]:
                return float(date.fromisoformat(value).toordinal())
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise FoveolaError(
                f"{case.image}: the column {self.time!r} is no time; expected a number of "
                f"{self.unit} or a date such as 2026-11-21"
            )
        return number * DAYS[self.unit]

    def group(self, gap: float | None) -> str:
        """Name the part of the queries in which a gap in days lies.

        >>> Protocol(edges=(6, 12)).group(100.0), Protocol().group(800.0)
        ('0 to 6 m', '2 y')
        """
        if gap is None or gap == 0:
            return SAME
        if not self.edges:
            return f"{round(gap / DAYS['years'])} y"
        time, short = gap / DAYS[self.unit], self.unit[0]
        below = 0.0
        for edge in self.edges:
            if time <= edge:
                return f"{below:g} to {edge:g} {short}"
            below = edge
        return f"over {below:g} {short}"


@dataclass(frozen=True)
class Parted:
    """What asks, what is ranked, and how much later each query was taken.

    Attributes:
        queries: places among the cases.
        gallery: likewise; the same as the queries where every photograph asks all others.
        groups: of each query, None where it has no mate.
    """

    queries: tuple[int, ...]
    gallery: tuple[int, ...]
    groups: tuple[str | None, ...]


def part(cases: Sequence[Case], protocol: Protocol) -> Parted:
    """Part photographs by the protocol.

    A photograph of a known identity and unknown time stands, in the order given, after those of
    that identity whose time is known. The first of an identity is ranked even if no later one
    asks for it: a gallery holds more people than come back.

    Raises:
        FoveolaError: a time can't be read, or no identity has a second photograph.
    """
    identities = [protocol.identity_of(case) for case in cases]
    times = [protocol.taken(case) for case in cases]
    order = sorted(range(len(cases)), key=lambda i: (times[i] is None, times[i] or 0.0, i))
    first: dict[Identity, int] = {}
    for i in order:
        identity = identities[i]
        if identity is not None:
            first.setdefault(identity, i)

    def gap(i: int) -> float | None:  # days since the first photograph of the identity, 0 for that visit
        identity = identities[i]
        start = None if identity is None else times[first[identity]]
        now = times[i]
        return None if start is None or now is None else now - start

    if protocol.gallery == "others":
        everyone = tuple(range(len(cases)))
        return Parted(everyone, everyone, (None,) * len(cases))
    queries = [
        i
        for i, identity in enumerate(identities)
        # later than its identity's first visit, or a repeat of no known time
        if identity is not None and first[identity] != i and ((later := gap(i)) is None or later > 0)
    ]
    if not queries:
        raise FoveolaError(
            f"none of the {len(cases)} photographs was taken after the first of its "
            f"{protocol.identity}; expected a manifest with follow-up visits"
        )
    asked = set(queries)
    gallery = tuple(i for i in range(len(cases)) if i not in asked)
    return Parted(tuple(queries), gallery, tuple(protocol.group(gap(i)) for i in queries))


@dataclass(frozen=True)
class MatchingEvaluation:
    """What an encoder reaches by a protocol.

    Attributes:
        protocol: how photographs were parted.
        found: identification and verification.
        rejection: at each FPIR that there are queries enough for.
        confidence: of the intervals.
    """

    protocol: Protocol
    found: Identification
    rejection: tuple[Rejection, ...]
    confidence: float

    def groups(self) -> list[str]:
        """Return the names of the parts of the queries, by time."""
        names = next(iter(self.found.metrics.values())).queries
        return sorted(names, key=_order)

    def to_dict(self) -> dict[str, object]:
        """Return plain types for json.dumps; what is unknown is None."""
        verification = self.found.verification
        return {
            "protocol": {**asdict(self.protocol), "edges": list(self.protocol.edges)},
            "queries": self.found.queries,
            "gallery": self.found.gallery,
            "queries_without_mate": self.found.without_mate,
            "metrics": {n: m.to_dict("by_time") for n, m in self.found.metrics.items()},
            "verification": None if verification is None else verification.to_dict(),
            "rejection": [each.to_dict() for each in self.rejection],
            "confidence": self.confidence,
        }

    def to_text(self) -> str:
        """Return tables for a terminal."""
        return self._text(aligned)

    def to_markdown(self) -> str:
        """Return the same tables in Markdown."""
        return self._text(piped)

    def _text(self, table: Callable[[Rows], str]) -> str:
        parts = [self.summary(), table(self.rows())]
        if self.found.verification is not None:
            parts += ["Pairs of one identity against pairs of two:", table(self.pair_rows())]
        if self.rejection:
            parts.append("Saying no match, thresholds set on other subjects:")
            parts.append(table(self.rejection_rows()))
        return "\n\n".join(parts)

    def summary(self) -> str:
        """Say in one paragraph what was asked and what was ranked."""
        asked = f"{self.found.queries:,} queries against {self.found.gallery:,} images"
        said = [f"{asked} by {self.protocol.identity}"]
        if self.protocol.gallery == "others":
            said[0] += ", each against all others"
        else:
            said[0] += ", the first visit of each"
        if self.found.without_mate:
            said.append(f"{self.found.without_mate:,} queries have no mate")
        if SAME in self.groups():
            said.append(f'"{SAME}" is easier than time that has passed')
        return "; ".join(said) + "."

    def rows(self) -> Rows:
        """Return header and rows: for all queries and each part of them, metrics with intervals."""
        rows = [["time", "queries", *(cell for name in SHOWN for cell in (name, self._level()))]]
        for group in [None, *self.groups()]:
            counted = [self.found.metrics[name] for name in SHOWN]
            first = counted[0]
            asked = len(self.found.per_query.values) if group is None else first.queries[group]
            row = ["all" if group is None else group, f"{asked:,}"]
            for metric in counted:
                value = metric.value.micro if group is None else metric.value.per_label[group]
                row += [number(value), ranged(metric.interval(group))]
            rows.append(row)
        return rows

    def pair_rows(self) -> Rows:
        """Return header and rows: what is measured of pairs."""
        seen = self.found.verification
        if seen is None:
            return []
        rows = [["measure", "value", self._level()], ["genuine pairs", f"{seen.genuine:,}", "-"]]
        rows.append(["impostor pairs", f"{seen.impostor:,}", "-"])
        named = {"AUC": seen.auc, "EER": seen.eer}
        named |= {f"FNMR at FMR {fmr:g}": rate for fmr, rate in seen.fnmr.items()}
        return rows + [[name, *_cells(rate, 4)] for name, rate in named.items()]

    def rejection_rows(self) -> Rows:
        """Return header and rows: FPIR wanted and had, and TPIR."""
        rows = [["FPIR wanted", "FPIR", self._level(), "TPIR", self._level()]]
        for each in self.rejection:
            rows.append([f"{each.wanted:g}", *_cells(each.fpir), *_cells(each.tpir)])
        return rows

    def _level(self) -> str:
        return f"{100 * self.confidence:g} % interval"


def evaluate_matching(
    descriptors: Vectors,
    cases: Sequence[Case],
    protocol: Protocol | None = None,
    *,
    similarity: Vectors | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> MatchingEvaluation:
    """Measure how well descriptors find subjects again.

    Args:
        descriptors: (N, D) float32, of one encoder.
        cases: the N photographs.
        protocol: how they are parted into gallery and queries.
        similarity: (N, N) to rank by instead of the cosine, from -1 to 1.
        bootstrap: resamples of the subjects for the intervals; 0 for none.
        confidence: of the intervals.
        seed: of the bootstrap and of the folds that thresholds are set on.

    Raises:
        FoveolaError: a time can't be read, or nothing can be found again.
    """
    protocol = protocol or Protocol()
    if not len(descriptors) == len(cases):
        raise ValueError(f"{len(descriptors)} descriptors for {len(cases)} cases")
    parted = part(cases, protocol)

    def known(rows: Sequence[int]) -> IdentityData:
        identities = [protocol.identity_of(cases[i]) for i in rows]
        return IdentityData(descriptors[list(rows)], identities, [cases[i].identity for i in rows])

    found = identify(
        known(parted.queries),
        None if protocol.gallery == "others" else known(parted.gallery),
        groups=parted.groups,
        similarity=None if similarity is None else _Table(similarity, parted),
        bootstrap=bootstrap,
        confidence=confidence,
        seed=seed,
    )
    rejection = reject(found.best, bootstrap=bootstrap, confidence=confidence, seed=seed)
    return MatchingEvaluation(protocol, found, tuple(rejection), confidence)


class _Table:
    """Similarities at hand, of the queries of a slice."""

    def __init__(self, similarity: Vectors, parted: Parted) -> None:
        self._all, self._parted = similarity, parted

    def __call__(self, rows: slice) -> NDArray[np.float64]:
        asked = self._all[list(self._parted.queries[rows])]
        return asked[:, list(self._parted.gallery)].astype(np.float64)


def published_table(
    results: Mapping[str, Sequence[MatchingEvaluation]], metrics: Sequence[str] = ("mAP", "mAP@R", "CMC@1")
) -> Rows:
    """Return rows in the format of the AdaTriplet paper's tables 4 and 5: in %, by loss and time.

    Args:
        results: by the name of the loss, one evaluation for each seed, of the same protocol.
        metrics: names of METRICS.

    Returns:
        Header and rows of metric, loss, each time, and all: mean over the seeds and standard
        error of that mean, as published. It says how much seeds differ, not people.
    """
    groups = sorted({g for runs in results.values() for run in runs for g in run.groups()}, key=_order)
    rows = [["metric", "loss", *groups, "all"]]
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"metric is {metric!r}; expected {', '.join(METRICS)}")
        for loss, runs in results.items():
            cells = [_over_seeds([run.found.metrics[metric].value for run in runs], g) for g in [*groups, None]]
            rows.append([metric, loss, *cells])
    return rows


def _over_seeds(values: Sequence[Estimate], group: str | None) -> str:
    """Mean and standard error of some runs, in %; "-" where there is none."""
    of = [v.micro if group is None else v.per_label.get(group, float("nan")) for v in values]
    known = 100 * np.array([v for v in of if not np.isnan(v)])
    if not len(known):
        return "-"
    if len(known) == 1:
        return f"{known[0]:.1f}"
    return f"{known.mean():.1f} ± {known.std(ddof=1) / np.sqrt(len(known)):.1f}"


def _cells(rate: Rate, decimals: int = 3) -> list[str]:
    if np.isnan(rate.value):
        return ["-", "-"]
    between = f"{rate.low:.{decimals}f} to {rate.high:.{decimals}f}"
    return [f"{rate.value:.{decimals}f}", "-" if np.isnan(rate.low) else between]


def _order(group: str) -> tuple[int, float]:
    """Repeats first, then by time, "over" last."""
    if group == SAME:
        return 0, 0.0
    first, second = group.split()[:2]
    return (2, float(second)) if first == "over" else (1, float(first))


def ensemble(descriptors: Sequence[Vectors], how: How = "distances") -> Vectors:
    """Compute the (N, N) similarities of all pairs, falling with the distance, from -1 to 1.

    Args:
        descriptors: of M models, (N, D) each; lengths are divided out.
        how: "distances" averages squared Euclidean distances of the unit descriptors, which the
            paper does for mAP and CMC, and orders as the mean cosine does. "features" averages the
            descriptors themselves, without new length, and takes Euclidean distances, which it
            does for mAP@R.

    Raises:
        ValueError: no model, shapes that do not fit, or an unknown way.

    >>> first, second = np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> ensemble([first, second]).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    if how not in ("distances", "features"):
        raise ValueError(f"how is {how!r}; expected 'distances' or 'features'")
    units = [_unit(rows) for rows in descriptors]
    widths = {rows.shape[1] for rows in units}
    if not units or len({len(rows) for rows in units}) > 1 or (how == "features" and len(widths) > 1):
        raise ValueError(f"expected models of the same images, got {[u.shape for u in units]}")
    if how == "distances":
        cosines = np.stack([rows @ rows.T for rows in units]).mean(axis=0)
        return np.asarray(cosines, dtype=np.float32)
    mean = np.mean(units, axis=0)
    squares = (mean * mean).sum(axis=1)
    # of vectors no longer than 1, distances are no longer than 2: 1 - d^2 / 2 lies in -1 to 1
    half = np.maximum(squares[:, None] + squares - 2 * mean @ mean.T, 0) / 2
    return np.asarray(1 - half, dtype=np.float32)


def _unit(rows: Vectors) -> NDArray[np.float64]:
    x = np.asarray(rows, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all() or not x.any(axis=1).all():
        raise ValueError(f"expected finite descriptors (N, D) without a row of zeros, got {x.shape}")
    unit: NDArray[np.float64] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit
