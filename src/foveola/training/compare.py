"""Train several configurations on one split with several seeds, and put them in one table.

The folder holds a run for each, NAME/seed-S, which is resumed where it stopped and not repeated
once its score is written; then the table as comparison.md, comparison.csv and comparison.png.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.reading_model import read_reader
from foveola.errors import ConfigError, ImageError
from foveola.files import write_whole
from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.plain import to_csv
from foveola.records import Case
from foveola.resources import AnyPath, beside, told_of
from foveola.training.config import Config, DataConfig, TrainConfig, load_any
from foveola.training.data import training_labels
from foveola.training.prepared import Report
from foveola.training.ranks import started
from foveola.training.run import start


@dataclass(frozen=True)
class Row:
    """One configuration in the table.

    Attributes:
        name: of the configuration.
        metric: what was measured.
        scores: one a seed, 0 to 1.
        mean: of the scores.
        error: standard error of the mean over the seeds; NaN for one seed.
        difference: mean over the seeds of the score less the first configuration's.
        difference_error: standard error of that mean.
    """

    name: str
    metric: str
    scores: tuple[float, ...]
    mean: float
    error: float
    difference: float
    difference_error: float


def compare(config_files: Sequence[AnyPath], out: AnyPath, *, seeds: int = 3, report: Report = print) -> list[Row]:
    """Train and judge every configuration with the seeds 0 to seeds - 1.

    Each run is judged on the subjects that its configuration holds out, which are the same for
    all: each of their images asked against the others. For diseases by grade, macro, without
    the query's own subject; for subjects and eyes by identity, micro. Readers are judged by the
    official score of ODIR and the honest figures beside it, see `foveola.metrics.multilabel`.

    Args:
        config_files: TOML, see TrainConfig, or all of readers, see ReadingConfig; differences are
            taken to the first.
        out: folder of the runs and of the table.
        seeds: number of them.
        report: receives one line at each step.

    Returns:
        One row for each configuration and metric, metric by metric.

    Raises:
        ConfigError: two configurations of one name, of another split, or nothing held out.
    """
    if started() > 1:
        raise ConfigError(
            f"torchrun started {started()} processes, and a comparison runs in one; start it "
            "without torchrun, or train each file by itself with foveola train"
        )
    out = Path(out)
    configs = [(load_any(path), path.parent) for path in map(Path, config_files)]
    _check_comparable([config for config, _ in configs], [base for _, base in configs])
    scores: dict[tuple[str, str], list[float]] = {}
    for seed in range(seeds):
        for config, base in configs:
            report(f"{config.name}, seed {seed}")
            folder = out / config.name / f"seed-{seed}"
            for metric, score in _score(replace(config, seed=seed), base, folder, report).items():
                scores.setdefault((config.name, metric), []).append(score)
    rows = _rows(scores, [config.name for config, _ in configs])
    _write(rows, out)
    return rows


def _check_comparable(configs: Sequence[Config], bases: Sequence[Path]) -> None:
    names = [config.name for config in configs]
    if len(set(names)) < len(names):
        raise ConfigError(f"two configurations are named alike: {', '.join(sorted(names))}")
    first = _split(configs[0], bases[0])
    for config, base in zip(configs, bases, strict=True):
        if not config.data.held_out:
            raise ConfigError(f"{config.name} holds no subjects out; set held_out under [data]")
        if _split(config, base) != first:
            raise ConfigError(
                f"{config.name} has other manifests, label or held-out subjects than {names[0]}; "
                "a difference between them would say nothing"
            )


def _split(config: Config, base: Path) -> tuple[object, ...]:
    data = config.data
    files = tuple((base / name).resolve() for name in data.manifests)
    label = data.label if isinstance(data, DataConfig) else data.labels
    return type(config), files, label, data.held_out, data.split_seed, data.fold


def _score(config: Config, base: Path, folder: Path, report: Report) -> dict[str, float]:
    """The run's scores: read if it was judged before, else trained for and written."""
    kept = folder / "score.json"
    if not kept.exists():
        released = folder / ("encoder" if isinstance(config, TrainConfig) else "reader")
        if not released.exists():
            start(config, base, folder, report)
        if isinstance(config, TrainConfig):
            scores = held_out_scores(folder, config.data.label)
        else:
            scores = reader_scores(released)
        with beside(kept) as partial:
            partial.write_text(json.dumps(scores), encoding="utf-8")
            partial.rename(kept)
    values: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
    return values


def held_out_scores(run: Path, label: str) -> dict[str, float]:
    """Measure how well a run's encoder finds alike images of subjects it was not trained on.

    Args:
        run: folder of a finished run.
        label: as in its configuration.

    Returns:
        mAP@R, mAP@10 and the share of first hits that are right (mHR@1).
    """
    cases: list[Case] = []
    for path in sorted((run / "held_out").glob("*.csv")):
        cases += Manifest.read(path, collection=path.stem).cases()
    encoded = [r for r in Encoder.load(run / "encoder").encode_cases(cases) if isinstance(r, Encoded)]
    if not encoded:
        raise ImageError(f"none of the {len(cases)} held-out photographs can be read")
    descriptors = np.stack([item.descriptor for item in encoded])
    by_identity = label in ("subject", "eye")
    side = _side(descriptors, [item.case for item in encoded], label, by_identity=by_identity)
    done = evaluate_retrieval(side, ks=(1, 10), exclude="none" if by_identity else "subject", bootstrap=0)
    names = ("mAP@R", "mAP@10", "mHR@1")
    values = {name: done.metrics[name].value for name in names}
    return {name: v.micro if by_identity else v.macro for name, v in values.items()}


def reader_scores(reader: Path) -> dict[str, float]:
    """Read from a released reader's card what it reached on the people held back.

    Returns:
        The official score and what it is made of, macro-AUC, mAP and calibration error; macro-F1
        by the thresholds of the validation people.
    """
    found = read_reader(reader).card["evaluation"]
    overall = found["official"]["overall"]
    names = ("final", "kappa", "F1 (official)", "AUC", "macro-AUC", "mAP", "ECE")
    values = {name: overall[name]["value"] for name in names}
    values["macro-F1"] = found["chosen"]["overall"]["macro-F1"]["value"]
    return {name: math.nan if value is None else value for name, value in values.items()}


def _side(descriptors: NDArray[np.float32], cases: list[Case], label: str, *, by_identity: bool) -> RetrievalData:
    if not by_identity:
        return RetrievalData.from_cases(descriptors, cases, "findings" if label == "findings" else "grade")
    codes, names, _ = training_labels(cases, label)
    return RetrievalData(descriptors, codes, [case.identity for case in cases], names, label)


def _rows(scores: dict[tuple[str, str], list[float]], names: Sequence[str]) -> list[Row]:
    rows = []
    for metric in dict.fromkeys(metric for _, metric in scores):
        first = np.array(scores[names[0], metric])
        for name in names:
            own = np.array(scores[name, metric])
            difference = own - first
            rows.append(
                Row(
                    name,
                    metric,
                    tuple(own.tolist()),
                    float(own.mean()),
                    _error(own),
                    float(difference.mean()),
                    _error(difference),
                )
            )
    return rows


def _error(values: NDArray[np.float64]) -> float:
    """Standard error of the mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def to_markdown(rows: Sequence[Row]) -> str:
    """Return one table, a line for each configuration and metric."""
    lines = [
        "| metric | configuration | seeds | mean | standard error | difference to the first |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = f"{row.difference:+.4f} ± {_number(row.difference_error)}"
        if row.name == rows[0].name:
            difference = ""
        lines.append(
            f"| {row.metric} | {row.name} | {len(row.scores)} | {row.mean:.4f} | {_number(row.error)} | {difference} |"
        )
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:.4f}"


def _write(rows: Sequence[Row], out: Path) -> None:
    write_whole(out / "comparison.md", to_markdown(rows).encode())
    table = to_csv(
        ("metric", "configuration", "seed", "score"),
        ((row.metric, row.name, seed, score) for row in rows for seed, score in enumerate(row.scores)),
    )
    write_whole(out / "comparison.csv", table.encode())
    _plot(rows, out / "comparison.png")


def _plot(rows: Sequence[Row], path: Path) -> None:
    """A dot for each seed, a bar for mean and standard error; one panel a metric."""
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(row.metric for row in rows))
    names = list(dict.fromkeys(row.name for row in rows))
    figure = Figure(figsize=(3.2 * len(metrics) + 1.5, 0.5 * len(names) + 1.4), dpi=150)
    panels: Any = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, metrics, strict=True):
        for row in (row for row in rows if row.metric == metric):
            y = names.index(row.name)
            panel.plot(row.scores, [y] * len(row.scores), "o", color="#8aa4c8", markersize=5)
            error = 0 if math.isnan(row.error) else row.error
            panel.errorbar(row.mean, y, xerr=error, fmt="|", color="#1d3557", markersize=14)
        panel.set_title(metric, fontsize=10)
        panel.grid(axis="x", color="#e3e3e3")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("mean over seeds with standard error; dots are seeds", fontsize=8)
    figure.tight_layout()
    with told_of(path):
        figure.savefig(path)
