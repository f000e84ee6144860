"""How well subjects are found again, as a value, as JSON, as text and as the published tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.matching.protocol import SAME, Parted, Protocol, part
from foveola.metrics.identification import METRICS, Identification, IdentityData, Rejection, identify, reject
from foveola.metrics.verification import Rate
from foveola.notebook import Rows, aligned, number, piped, ranged
from foveola.records import Case

Vectors = NDArray[np.float32]

SHOWN = ("mAP", "mAP@R", "rank-1", "rank-5", "CMC@1")


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
        """Names of the parts of the queries, by time."""
        names = next(iter(self.found.metrics.values())).queries
        return sorted(names, key=_order)

    def to_json(self) -> dict[str, object]:
        """Plain types for json.dumps; what is unknown is None."""
        verification = self.found.verification
        return {
            "protocol": {**asdict(self.protocol), "edges": list(self.protocol.edges)},
            "queries": self.found.queries,
            "gallery": self.found.gallery,
            "queries_without_mate": self.found.without_mate,
            "metrics": {n: m.to_json("by_time") for n, m in self.found.metrics.items()},
            "verification": None if verification is None else verification.to_json(),
            "rejection": [each.to_json() for each in self.rejection],
            "confidence": self.confidence,
        }

    def to_text(self) -> str:
        """Tables for a terminal."""
        return self._text(aligned)

    def to_markdown(self) -> str:
        """The same tables in Markdown."""
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
        """One paragraph: what was asked and what was ranked."""
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
        """Header and rows: for all queries and each part of them, metrics with intervals."""
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
        """Header and rows: what is measured of pairs."""
        seen = self.found.verification
        if seen is None:
            return []
        rows = [["measure", "value", self._level()], ["genuine pairs", f"{seen.genuine:,}", "-"]]
        rows.append(["impostor pairs", f"{seen.impostor:,}", "-"])
        named = {"AUC": seen.auc, "EER": seen.eer}
        named |= {f"FNMR at FMR {fmr:g}": rate for fmr, rate in seen.fnmr.items()}
        return rows + [[name, *_cells(rate, 4)] for name, rate in named.items()]

    def rejection_rows(self) -> Rows:
        """Header and rows: FPIR wanted and had, and TPIR."""
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
    sides = {
        name: _known(descriptors, cases, rows, protocol)
        for name, rows in (("queries", parted.queries), ("gallery", parted.gallery))
    }
    found = identify(
        sides["queries"],
        None if protocol.gallery == "others" else sides["gallery"],
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
    """Rows in the format of the AdaTriplet paper's tables 4 and 5: in %, by loss and time.

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
            cells = [_over_seeds([_value(run, metric, g) for run in runs]) for g in [*groups, None]]
            rows.append([metric, loss, *cells])
    return rows


def _value(run: MatchingEvaluation, metric: str, group: str | None) -> float:
    value = run.found.metrics[metric].value
    return value.micro if group is None else value.per_label.get(group, float("nan"))


def _over_seeds(values: Sequence[float]) -> str:
    """Mean and standard error of some runs, in %; "-" where there is none."""
    known = 100 * np.array([v for v in values if not np.isnan(v)])
    if not len(known):
        return "-"
    if len(known) == 1:
        return f"{known[0]:.1f}"
    return f"{known.mean():.1f} ± {known.std(ddof=1) / np.sqrt(len(known)):.1f}"


def _known(descriptors: Vectors, cases: Sequence[Case], rows: Sequence[int], protocol: Protocol) -> IdentityData:
    return IdentityData(
        descriptors[list(rows)], [protocol.identity_of(cases[i]) for i in rows], [cases[i].identity for i in rows]
    )


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
