"""How well cases with the right label are found: by looks, and learned from an archive's labels.

    python benchmarks/relevance.py recipes/fundus-similarity-5.toml [--encoder FOLDER] \
        [--naive FILE] [--left-out FOLDER] [--more MANIFEST ...] [--inner] [--json FILE] [--card]

For each data set of the recipe, macro mAP@10 (AP divided by K) with its 95 % interval over
subjects, and chance. Held-out subjects (split as the recipe says) ask:

    known     the training part of the same set, which the encoder was trained on; it teaches
    new       the other held-out subjects, as in a new archive; people are dealt into folds,
              and those who ask are in none of what answers
    whole     --left-out names an encoder that was trained without some sets: every subject of
              such a set asks all others of it

By looks is the cosine alone; learned is the order of `foveola search`. The gain is paired, query
by query. With --naive (benchmarks/naive.py) the features of a plain classifier are judged in the
same two orders, and the last column is learned on ours less learned on those. --inner judges the
validation subjects of the training in place of the held-out ones: settings are chosen on these.
--card writes the tables into the encoder's card. Prints Markdown at the end.
"""

import argparse
import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from descriptor import pooled_features
from numpy.typing import NDArray

from foveola.assessment import scores_of
from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.encoders.card import render_card
from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.release import Release, write_release
from foveola.images.decode import read_bytes
from foveola.metrics import Evaluation, RetrievalData, compare, evaluate_retrieval
from foveola.notebook import piped
from foveola.records import Case
from foveola.relevance.labels import LabelTable
from foveola.relevance.learn import Prior, TooFewError, load_priors
from foveola.training.config import TrainConfig
from foveola.training.prepared import HELD, JUDGED, TRAINED, parted
from foveola.trust import Seen, label_values

METRIC = "mAP@10"
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RankedQueries:
    """What one encoder found: by looks, and learned where there are labels enough."""

    looks: Evaluation
    learned: Evaluation | None


@dataclass(frozen=True, eq=False)
class IdentityData:
    """What an encoder says of itself."""

    seen: Seen | None
    priors: dict[str, Prior]

    @classmethod
    def of(cls, folder: Path) -> "IdentityData":
        """Read it from an encoder's folder."""
        return cls(Seen.load(folder), load_priors(folder))


def judge(
    label: str,
    gallery: list[Case],
    vectors: Vectors,
    known: IdentityData,
    queries: list[Case] | None = None,
    asking: Vectors | None = None,
) -> RankedQueries:
    """Judge one gallery; without queries its cases ask each other."""
    side = RetrievalData.from_cases(vectors, gallery, label)
    asked = None if queries is None else RetrievalData.from_cases(asking, queries, label)
    sides = (side, None) if asked is None else (asked, side)
    looks = evaluate_retrieval(*sides, ks=(10,))
    table = LabelTable.of(label, [label_values(case, label) for case in gallery])
    seen = None if known.seen is None else known.seen.among([digest(c) for c in gallery])
    try:
        scores = scores_of(side, table, asked, seen=seen, prior=known.priors.get(label))
    except TooFewError:
        return RankedQueries(looks, None)
    return RankedQueries(looks, evaluate_retrieval(*sides, ks=(10,), scores=scores))


def digest(case: Case) -> bytes:
    return blake2b(read_bytes(Path(case.path)), digest_size=16).digest()


def encoded(encoder: Encoder, cases: list[Case]) -> Vectors:
    items = list(encoder.encode_cases(cases))
    if not all(isinstance(item, Encoded) for item in items):
        raise SystemExit("some photographs can't be read")
    return np.stack([item.descriptor for item in items])


def row(found: RankedQueries, naive: RankedQueries | None) -> dict[str, object]:
    """The figures of a line of the table."""
    values: dict[str, object] = {"queries": found.looks.metrics[METRIC].total}
    for name, of in (("looks", found.looks), ("learned", found.learned)):
        values[name] = None if of is None else figures(of.metrics[METRIC])
    if found.learned is not None:
        values["gain"] = figures(compare(found.looks, found.learned).metrics[METRIC])
        values["micro"] = [found.looks.metrics[METRIC].value.micro, found.learned.metrics[METRIC].value.micro]
    if naive is not None:
        values["naive_looks"] = figures(naive.looks.metrics[METRIC])
        if naive.learned is not None and found.learned is not None:
            values["naive_learned"] = figures(naive.learned.metrics[METRIC])
            beyond = compare(naive.learned, found.learned)
            values["beyond_naive"] = figures(beyond.metrics[METRIC])
    return values


def figures(metric: object) -> dict[str, float]:
    value = metric.to_dict("per_label")  # type: ignore[attr-defined]
    low, high = value["interval"]["macro"]
    return {
        "macro": value["macro"],
        "low": low,
        "high": high,
        "chance": value["chance"]["macro"],
        "per_label": value["per_label"],
    }


def shown(values: dict[str, float] | None, sign: str = "") -> str:
    if values is None:
        return "too few labels"
    return f"{values['macro']:{sign}.3f} ({values['low']:{sign}.3f} to {values['high']:{sign}.3f})"


def main_table(rows: dict[str, dict[str, object]]) -> list[list[str]]:
    """Each line of what was measured, for people."""
    table = [
        [
            "gallery",
            "queries",
            "chance",
            "by looks",
            "learned",
            "gain",
            "classifier by looks",
            "classifier learned",
            "ours beyond it",
        ]
    ]
    for name, values in rows.items():
        looks = values["looks"]
        cells = [name, str(values["queries"]), f"{looks['chance']:.3f}", shown(looks)]  # type: ignore[index]
        for key, sign in (
            ("learned", ""),
            ("gain", "+"),
            ("naive_looks", ""),
            ("naive_learned", ""),
            ("beyond_naive", "+"),
        ):
            cells.append(shown(values[key], sign) if key in values else "-")
        table.append(cells)
    return table


def label_table(rows: dict[str, dict[str, object]]) -> list[list[str]]:
    """By label value: looks, then learned."""
    table = [["gallery", "by looks, then learned, of each value"]]
    for name, values in rows.items():
        looks, learned = values["looks"], values["learned"]
        if learned is not None:
            both = [
                f"{value} {looks['per_label'][value]:.2f} {learned['per_label'][value]:.2f}"  # type: ignore[index]
                for value in looks["per_label"]  # type: ignore[index]
            ]
            table.append([name, "; ".join(both)])
    return table


def write_card(release: Release, tables: list[list[list[str]]]) -> None:
    measured = (
        "Macro mAP@10 (AP divided by 10), 95 % intervals over subjects whom training never saw. "
        "A known gallery is the training part of the same set; a new one are the other held-out "
        "subjects; a set left out is judged by an encoder of the same recipe that never saw it. By "
        "looks is the cosine, learned the order that the archive learns from its labels without "
        "whoever asks. The classifier is a plain one (benchmarks/naive.py). Reproduce: "
        f"`python benchmarks/relevance.py recipes/{release.name}.toml`, see there."
    )
    card = {
        **release.card,
        "tables": [
            {"caption": caption, "rows": table}
            for caption, table in zip((measured, "Of each label value."), tables, strict=True)
        ],
    }
    written = write_release(
        release.folder, name=release.name, dimension=release.dimension, contract=release.contract, card=card
    )
    (release.folder / "CARD.md").write_text(render_card(written), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--encoder", type=Path, help="folder; by default the shipped encoder")
    parser.add_argument("--naive", type=Path, help="safetensors from benchmarks/naive.py")
    parser.add_argument("--left-out", type=Path, help="encoder trained without some of the sets")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="manifests of new sets")
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--card", action="store_true")
    options = parser.parse_args()
    config, base = load_config(options.recipe, TrainConfig), options.recipe.parent
    encoder = Encoder.load(options.encoder or config.name)
    known = IdentityData.of(encoder.release.folder)
    rows: dict[str, dict[str, object]] = {}

    def show(name: str, found: RankedQueries, naive: RankedQueries | None = None) -> None:
        values = rows[name] = row(found, naive)
        chance = found.looks.metrics[METRIC].chance.macro
        parts = [f"{name:34} {values['queries']:5} chance {chance:.3f}"]
        for key, sign in (
            ("looks", ""),
            ("learned", ""),
            ("gain", "+"),
            ("naive_looks", ""),
            ("naive_learned", ""),
            ("beyond_naive", "+"),
        ):
            if key in values:
                parts.append(f"{key} {shown(values[key], sign)}")
        line = "  ".join(parts)
        print(line, flush=True)

    for name in config.data.manifests:
        path = base / name
        collection = path.resolve().parent.name
        parts = parted(config.data, Manifest.read(path, collection=collection))
        held = parts[JUDGED if options.inner else HELD]
        rest = parts[TRAINED] + ([] if options.inner else parts[JUDGED])
        asking, vectors = encoded(encoder, held), encoded(encoder, rest)
        plain = None
        if options.naive:
            plain = pooled_features(held, options.naive), pooled_features(rest, options.naive)
        for label in ("grade", "findings") if collection == "odir" else ("grade",):
            for kind in ("known", "new"):
                new = kind == "new"
                args = (label, held) if new else (label, rest)
                naive = None
                if plain is not None:
                    unsure = IdentityData(known.seen, {})
                    naive = judge(*args, plain[0], unsure) if new else judge(*args, plain[1], unsure, held, plain[0])
                found = judge(*args, asking, known) if new else judge(*args, vectors, known, held, asking)
                show(f"{collection} {label}, {kind} gallery", found, naive)
    if options.left_out:
        other = Encoder.load(options.left_out)
        of_other = IdentityData.of(options.left_out)
        trained = {each["collection"] for each in other.release.card["data"]}
        for path in [*(base / name for name in config.data.manifests), *options.more]:
            collection = path.resolve().parent.name
            if collection in trained:
                continue
            cases = list(Manifest.read(path, collection=collection).cases())
            show(f"{collection} grade, whole set left out", judge("grade", cases, encoded(other, cases), of_other))
    tables = [main_table(rows), label_table(rows)]
    for table in tables:
        print(f"\n{piped(table)}")
    if options.card:
        write_card(encoder.release, tables)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
