"""How good a released descriptor is on subjects it never saw, beside simpler ones.

    python benchmarks/descriptor.py recipes/fundus-similarity-3.toml \
        [--encoder NAME] [--naive FILE] [--card]

Held-out subjects of each data set (split as the recipe says) ask; the gallery is that data
set's training part. Prints macro mAP@10 of the grades (AP divided by K) with its
subject-bootstrap interval, and chance. Beside it stand frozen ImageNet features and, with
--naive, those of the classifier that benchmarks/naive.py trains. --card writes the table into
the encoder's card. Needs foveola[train], and the photographs that the recipe names.
"""

import argparse
from pathlib import Path

import numpy as np
import timm
import torch
from sides import held_and_rest

from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.encoders.card import render_card
from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.release import DEFAULT, read_release, write_release
from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.metrics import Metric, evaluate_retrieval
from foveola.models.backbone import load_weights
from foveola.models.descriptor import normalise
from foveola.records import Case
from foveola.training.config import TrainConfig
from foveola.training.prepared import held_back

COLUMNS = ("eye", "sex", "age")
LEAST_QUERIES = 20  # in a group; fewer say nothing
PROTOCOL = (
    "Held-out subjects ask; relevant is the same ICDR grade; same-subject photographs left out. "
    "First the training part of the same data set is the gallery, as in the published protocols: "
    "the encoder knows the labels of what it ranks. Then the other held-out subjects are, as in a "
    "new archive. The recipe was settled after earlier runs had been judged on these same "
    "subjects, so the figures may be slightly optimistic. Beside it: frozen ImageNet features, "
    "and the features of a plain classifier of the grades trained on the same photographs "
    "(benchmarks/naive.py)."
)


def pooled_features(cases: list[Case], weights: Path) -> np.ndarray:
    """Average-pooled features of MobileNetV2 with some weights, at 224 px."""
    model = timm.create_model("mobilenetv2_100", num_classes=0).eval()
    load_weights(model, weights)
    model = model.to(memory_format=torch.channels_last)
    contract = Contract(size=224)
    mean, std = torch.tensor(contract.mean), torch.tensor(contract.std)
    rows = []
    for start in range(0, len(cases), 32):
        batch = [prepare(decode(Path(case.path), min_side=224), contract) for case in cases[start : start + 32]]
        with torch.inference_mode():
            x = normalise(torch.from_numpy(np.stack(batch)), mean, std)
            rows.append(model(x.contiguous(memory_format=torch.channels_last)).numpy())
    return np.concatenate(rows)


def judge(
    descriptors: np.ndarray, cases: list[Case], held: np.ndarray, by: tuple[str, ...] = ()
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """The figures of a data set, and those of the queries of each value of each column."""
    sides = held_and_rest(descriptors, cases, held, "grade", by)
    done = evaluate_retrieval(*sides, ks=(10,))
    groups = [
        {"column": column, "value": value} | figures(found["mAP@10"])
        for column, of in done.subgroups.items()
        for value, found in of.items()
        if found["mAP@10"].total >= LEAST_QUERIES
    ]
    apart = figures(evaluate_retrieval(sides[0], ks=(10,)).metrics["mAP@10"])
    unseen = {"unseen": {k: apart[k] for k in ("macro_map10", "interval", "chance")}}
    return figures(done.metrics["mAP@10"]) | unseen, groups


def figures(found: Metric) -> dict[str, object]:
    value = found.to_dict("per_grade")
    return {
        "queries": found.total,
        "macro_map10": value["macro"],
        "interval": value["interval"]["macro"],
        "chance": value["chance"]["macro"],
        "per_grade": value["per_grade"],
        "chance_per_grade": value["chance"]["per_grade"],
    }


def columns(cases: list[Case]) -> tuple[str, ...]:
    """Those of COLUMNS that the data set has."""
    return tuple(
        name for name in COLUMNS if any((case.eye if name == "eye" else case.extra.get(name)) for case in cases)
    )


def shown(row: dict[str, object]) -> str:
    """A figure with its interval."""
    low, high = row["interval"]
    return f"{row['macro_map10']:.3f} ({low:.3f}-{high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--encoder", default=DEFAULT)
    parser.add_argument("--naive", type=Path, help="safetensors from benchmarks/naive.py")
    parser.add_argument("--card", action="store_true")
    options = parser.parse_args()
    config, base = load_config(options.recipe, TrainConfig), options.recipe.parent
    encoder = Encoder.load(options.encoder)
    rows, subgroups = [], []
    for name in config.data.manifests:
        path = base / name
        manifest = Manifest.read(path, collection=path.resolve().parent.name)
        held = held_back(manifest, config.data)
        cases = list(manifest.cases())
        if any(case.extra.get("phantom") for case in cases):
            continue  # a drawing is no evidence
        graded = np.array([case.grade is not None for case in cases])
        cases = [case for case in cases if case.grade is not None]
        is_held = held[graded]
        encoded = list(encoder.encode_cases(cases))
        if not all(isinstance(item, Encoded) for item in encoded):
            raise SystemExit(f"{manifest.collection}: some photographs can't be read")
        descriptors = np.stack([item.descriptor for item in encoded])
        row, groups = judge(descriptors, cases, is_held, columns(cases))
        subgroups += [{"collection": manifest.collection} | group for group in groups]
        weights = base / str(config.model.weights)
        frozen, _ = judge(pooled_features(cases, weights), cases, is_held)
        row |= {"collection": manifest.collection, "baseline": frozen["macro_map10"]}
        row["unseen"]["baseline"] = frozen["unseen"]["macro_map10"]
        text = (
            f"{row['collection']:8} {row['queries']:4} queries  macro mAP@10 {shown(row)}  "
            f"chance {row['chance']:.3f}  ImageNet {shown(frozen)}"
        )
        if options.naive:
            naive, _ = judge(pooled_features(cases, options.naive), cases, is_held)
            row["classifier"] = naive["macro_map10"]
            row["unseen"]["classifier"] = naive["unseen"]["macro_map10"]
            text += f"  classifier {shown(naive)}"
        rows.append(row)
        apart = {k: v for k, v in row["unseen"].items() if k not in ("interval", "macro_map10")}
        of = ", ".join(f"{k} {v:.3f}" for k, v in apart.items())
        print(f"{text}\n         gallery unseen too: {shown(row['unseen'])}  {of}", flush=True)
    if options.card:
        release = read_release(options.encoder)
        naive = f" --naive {options.naive}" if options.naive else ""
        command = f"python benchmarks/descriptor.py {options.recipe}{naive}"
        card = {
            **release.card,
            "evaluation": {"protocol": PROTOCOL, "rows": rows, "subgroups": subgroups, "command": command},
        }
        written = write_release(
            release.folder, name=release.name, dimension=release.dimension, contract=release.contract, card=card
        )
        (release.folder / "CARD.md").write_text(render_card(written), encoding="utf-8")


if __name__ == "__main__":
    main()
