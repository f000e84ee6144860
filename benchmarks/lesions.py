"""Does a model look at lesions? Its maps against the pixel masks of real photographs.

    python benchmarks/lesions.py RUN... [--photographs DIR] [--gallery FILE] [--base DIR]
                                 [--json FILE] [--figure FILE]

RUN is the folder of a `foveola train` run. DIR of the photographs holds labels.csv with columns
image, grade and mask_MA, mask_HE, mask_EX, mask_SE, mask_OD (IDRiD's segmentation set); the
gallery is a manifest with grades (IDRiD's grading set). Prints Markdown; docs/explanation/lesions.md says what
is measured. Runs of one configuration with several seeds are averaged photograph by photograph.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lesion_models import Floats, Gallery, check_released, model_maps, states
from lesion_photos import KINDS, TOLERANCE, Photo, baselines, figure, prepared, read_photos, same_pictures, trained_on
from numpy.typing import NDArray

from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.metrics.pointing import MEASURES, point_many, summary
from foveola.training.config import TrainConfig
from foveola.training.prepared import contract_of

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
AUC = MEASURES.index("auc")


@dataclass
class Group:
    """Runs of one configuration.

    Attributes:
        attention: as in the configuration, with the views of mirror attention.
        seeds: of the runs.
        seen: (I,) which photographs any of them was trained on.
        values: by state and map, (I, K, M) of each seed.
        heats: by state and map of the first seed, (h, w) of each photograph.
    """

    attention: str
    seeds: list[int] = field(default_factory=list)
    seen: NDArray[np.bool_] | None = None
    values: dict[tuple[str, str], list[Floats]] = field(default_factory=dict)
    heats: dict[tuple[str, str], list[Floats]] = field(default_factory=dict)


def judged(heats: Sequence[Floats], photos: Sequence[Photo]) -> Floats:
    """(I, K, M): every photograph by every kind of lesion and every measure."""
    return np.array(
        [
            [[getattr(p, m) for m in MEASURES] for p in point_many(heat, list(photo.targets))]
            for heat, photo in zip(heats, photos, strict=True)
        ]
    )


def add_run(group: Group, run: Path, base: Path, photos: Sequence[Photo], gallery: Gallery) -> None:
    """Measure one run and its rivals."""
    config = load_config(run / "config.toml", TrainConfig)
    contract = contract_of(config.model)
    seen = np.array(trained_on(photos, [base / name for name in config.data.manifests], run))
    group.seen = seen if group.seen is None else group.seen | seen
    first = not group.seeds
    group.seeds.append(config.seed)
    for state, model in states(run, config, base):
        print(f"{config.name}, seed {config.seed}: {state}", file=sys.stderr, flush=True)
        if state == "trained":
            pixels = np.stack([prepared(p.path, contract) for p in photos[:4]])
            check_released(model, run, pixels)
        for name, heats in model_maps(model, photos, gallery, contract).items():
            group.values.setdefault((state, name), []).append(judged(heats, photos))
            if first:
                group.heats[state, name] = heats


def label_of(config: TrainConfig) -> str:
    attention = config.model.attention
    return f"mirror ({config.model.views})" if attention == "mirror" else attention


def rows_of(name: str, group: Group, plain: Group | None, centre: Floats | None) -> list[dict[str, Any]]:
    """One entry for each state and map, over all photographs and over the unseen ones.

    Trained models are compared with their rivals, with the one without attention and with the
    centre prior.
    """
    averaged = {key: np.mean(values, axis=0) for key, values in group.values.items()}
    images = len(next(iter(averaged.values())))
    subsets = {"all": np.ones(images, bool)}
    if group.seen is not None and not group.seen.all():
        subsets["unseen"] = ~group.seen
    rows = []
    for (state, heat), values in averaged.items():
        rivals = {other: v for (other, n), v in averaged.items() if n == heat and other != state}
        if plain is not None and plain is not group and (state, heat) in plain.values:
            rivals["trained without attention"] = np.mean(plain.values[state, heat], axis=0)
        if centre is not None:
            rivals["centre"] = centre
        for subset, of in subsets.items():
            entry = {"model": name, "attention": group.attention, "state": state, "map": heat}
            entry |= {"seeds": len(group.seeds), "subset": subset, "images": int(of.sum())}
            entry["kinds"] = by_kind(values[of])
            compared = rivals if state == "trained" else {}
            entry["beyond"] = {n: beyond(values[of], rival[of]) for n, rival in compared.items()}
            rows.append(entry)
    return rows


def by_kind(values: Floats) -> dict[str, Any]:
    """(I, K, M) -> for each kind each measure's [mean, low, high], and the number of images."""
    table = summary(values.reshape(len(values), -1)).reshape(*values.shape[1:], 3)
    known = (~np.isnan(values[..., AUC])).sum(axis=0)
    return {
        kind: {"images": int(n), **dict(zip(MEASURES, numbers(cells), strict=True))}
        for kind, n, cells in zip(KINDS, known, table, strict=True)
    }


def beyond(values: Floats, rival: Floats) -> dict[str, Any]:
    """How much larger the AUC is than the rival's on the same photographs: [mean, low, high]."""
    cells = summary(values[..., AUC] - rival[..., AUC])
    return dict(zip(KINDS, numbers(cells), strict=True))


def numbers(table: Floats) -> list[Any]:
    """JSON has no NaN: null."""
    return [[None if np.isnan(v) else round(float(v), 4) for v in row] for row in table]


def measure(
    runs: Sequence[Path], base: Path, photos: Sequence[Photo], gallery: Gallery
) -> tuple[dict[str, Any], dict[str, Group]]:
    """All figures, as JSON can hold them, and the groups behind them."""
    groups: dict[str, Group] = {}
    for run in runs:
        config = load_config(run / "config.toml", TrainConfig)
        add_run(groups.setdefault(config.name, Group(label_of(config))), run, base, photos, gallery)
    plain = next((g for g in groups.values() if g.attention == "none"), None)
    grid = next(iter(next(iter(groups.values())).heats.values()))[0].shape
    simple = Group("")
    every = [baselines(photo, grid) for photo in photos]
    for name in every[0]:
        simple.values["no model", name] = [judged([heats[name] for heats in every], photos)]
    centre = simple.values["no model", "centre"][0]
    rows = [row for name, group in groups.items() for row in rows_of(name, group, plain, centre)]
    rows += [row for row in rows_of("", simple, None, None) if row["subset"] == "all"]
    trained = {
        name: {"seeds": g.seeds, "trained_on": int(g.seen.sum()), "of": len(photos)}
        for name, g in groups.items()
        if g.seen is not None
    }
    return {"tolerance": TOLERANCE, "grid": list(grid), "runs": trained, "rows": rows}, groups


# Tables


def table(results: Mapping[str, Any]) -> str:
    """What --json wrote -> Markdown: AUC, energy and hits, AUC on unseen photographs, gains."""
    every = [row for row in results["rows"] if row["subset"] == "all"]
    unseen = [row for row in results["rows"] if row["subset"] == "unseen"]
    chances = every[0]["kinds"]
    chance = " | ".join(f"{chances[kind]['chance'][0]:.2f}" for kind in KINDS)
    parts = [
        _section("Pixel AUC, with 95 % interval (chance 0.50)", every, "auc"),
        _section("Energy on the lesion over its area (chance 1.00)", every, "energy"),
        _section(f"Pointing game, share of hits (chance {chance})", every, "hit"),
    ]
    if unseen:
        parts.append(_section("Pixel AUC on photographs that training never saw", unseen, "auc"))
    return "\n".join([*parts, _beyond_section(every)])


def _section(title: str, rows: Sequence[Mapping[str, Any]], measure: str) -> str:
    lines = [f"**{title}**", "", *_header(["model", "weights", "map"])]
    for row in rows:
        cells = [_cell(row["kinds"][kind][measure]) for kind in KINDS]
        lines.append(f"| {row['model']} | {row['state']} | {row['map']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _beyond_section(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["**Trained: pixel AUC less the rival's, photograph by photograph**", ""]
    lines += _header(["model", "map", "rival"])
    for row in rows:
        for rival, kinds in row["beyond"].items():
            cells = " | ".join(_cell(kinds[kind], "+.2f") for kind in KINDS)
            lines.append(f"| {row['model']} | {row['map']} | {rival} | {cells} |")
    return "\n".join(lines) + "\n"


def _header(first: Sequence[str]) -> list[str]:
    columns = [*first, *KINDS]
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _cell(value: Sequence[float | None], form: str = ".2f") -> str:
    mean, low, high = value
    if mean is None:
        return "not defined"
    if low is None or high is None:
        return f"{mean:{form}}"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--photographs", type=Path, default=DATA / "idrid_lesions", metavar="DIR")
    parser.add_argument("--gallery", type=Path, default=DATA / "idrid" / "labels.csv")
    parser.add_argument(
        "--base", type=Path, default=ROOT / "recipes", help="folder that the paths in each config.toml are relative to"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--figure", type=Path, help="draw maps here; outside this repository")
    options = parser.parse_args()
    if options.figure and options.figure.resolve().is_relative_to(ROOT):
        parser.error("the figure shows real photographs; keep it outside the repository")
    photos = read_photos(options.photographs)
    cases = [case for case in Manifest.read(options.gallery).cases() if case.grade is not None]
    paths = [Path(case.path) for case in cases]
    grades = np.array([case.grade for case in cases], np.int64)
    gallery = Gallery(paths, grades, same_pictures(photos, paths))
    results, groups = measure(options.runs, options.base, photos, gallery)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{len(photos)} photographs; the hits are among {len(paths)}")
    for name, run in results["runs"].items():
        seeds = ", ".join(map(str, run["seeds"]))
        print(f"{name}, seeds {seeds}: trained on {run['trained_on']} of the {run['of']} photographs")
    print(f"\n{table(results)}")
    if options.figure:
        maps = {
            f"{name}\n{state}\n{heat}": heats
            for name, group in groups.items()
            for (state, heat), heats in group.heats.items()
        }
        figure(options.figure, photos, maps)


if __name__ == "__main__":
    main()
