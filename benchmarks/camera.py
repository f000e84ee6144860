"""How much of the findings in ODIR-5K the camera alone gives away.

    python benchmarks/camera.py recipes/fundus-similarity-3.toml [--encoder NAME]

Macro mAP@10 of ODIR's findings for eight numbers of frame and colour (camera_like.py), for a
network with random weights, for frozen ImageNet features and for the shipped encoder. Held-out
subjects ask (split as the recipe says), the others are the gallery. A descriptor that can't know
disease and yet finds it, finds the camera. Prints Markdown. Needs foveola[train].
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import timm
import torch
from camera_like import features
from descriptor import pooled_features
from safetensors.torch import save_file
from sides import held_and_rest

from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.release import DEFAULT
from foveola.metrics import Metric, evaluate_retrieval
from foveola.training.config import TrainConfig
from foveola.training.prepared import held_back

COLLECTION = "odir"


def untrained(cases: list, seed: int = 0) -> np.ndarray:
    torch.manual_seed(seed)
    state = timm.create_model("mobilenetv2_100", num_classes=0).state_dict()
    with TemporaryDirectory() as folder:
        save_file(state, Path(folder) / "random.safetensors")
        return pooled_features(cases, Path(folder) / "random.safetensors")


def judged(rows: np.ndarray, cases: list, held: np.ndarray) -> Metric:
    sides = held_and_rest(rows, cases, held, "findings")
    return evaluate_retrieval(*sides, ks=(10,)).metrics["mAP@10"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--encoder", default=DEFAULT)
    options = parser.parse_args()
    config, base = load_config(options.recipe, TrainConfig), options.recipe.parent
    path = next(base / n for n in config.data.manifests if (base / n).parent.name == COLLECTION)
    manifest = Manifest.read(path, collection=COLLECTION)
    cases, held = list(manifest.cases()), held_back(manifest, config.data)
    encoded = list(Encoder.load(options.encoder).encode_cases(cases))
    shipped = np.stack([e.descriptor for e in encoded if isinstance(e, Encoded)])
    rows = {
        "camera-like features (8 numbers)": features(cases),
        "untrained network": untrained(cases),
        "frozen ImageNet features": pooled_features(cases, base / str(config.model.weights)),
        options.encoder: shipped,
    }
    found = {name: judged(made, cases, held) for name, made in rows.items()}
    first = next(iter(found.values()))
    names = list(first.queries)
    print(f"| descriptor | macro | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    for name, m in found.items():
        cells = " | ".join(f"{m.value.per_label[n]:.2f}" for n in names)
        low, high = m.low.macro, m.high.macro
        print(f"| {name} | {m.value.macro:.3f} ({low:.3f} to {high:.3f}) | {cells} |")
    chance = " | ".join(f"{first.chance.per_label[n]:.2f}" for n in names)
    print(f"| chance | {first.chance.macro:.3f} | {chance} |")
    print(f"| queries | | {' | '.join(str(first.queries[n]) for n in names)} |")


if __name__ == "__main__":
    main()
