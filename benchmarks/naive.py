"""The rival any descriptor of ours must beat: a plain classifier of DR grades.

    python benchmarks/naive.py recipes/fundus-similarity-2.toml runs/naive.safetensors

MobileNetV2 from ImageNet, every layer trained with cross-entropy on the graded photographs
that the recipe trains on, 6 epochs at 224 px; its average-pooled features are the descriptor.
Takes about a quarter of an hour on two cores. `benchmarks/descriptor.py --naive FILE` judges
it beside the shipped encoder.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset

from foveola.config import load_config
from foveola.images.fundus import Contract
from foveola.models.backbone import load_weights
from foveola.models.descriptor import normalise
from foveola.training.config import TrainConfig
from foveola.training.data import PackedImages
from foveola.training.prepared import prepare_data

SIZE, EPOCHS, BATCH, RATE = 224, 6, 32, 5e-4


def graded_images(config: TrainConfig, base: Path) -> Subset:
    """The recipe's training images that have a grade, augmented as in the recipe."""
    with tempfile.TemporaryDirectory() as held_out:
        prepared = prepare_data(config, base, Path(held_out), lambda _: None)
    images = PackedImages(prepared.images, prepared.grades, prepared.grades, SIZE, seed=config.seed)
    return Subset(images, np.flatnonzero(prepared.grades >= 0).tolist())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    config, base = load_config(options.recipe, TrainConfig), options.recipe.parent
    torch.manual_seed(config.seed)
    model = timm.create_model("mobilenetv2_100", num_classes=0)
    load_weights(model, base / str(config.model.weights))
    model = model.to(memory_format=torch.channels_last)
    head = torch.nn.Linear(model.num_features, 5)
    loader = DataLoader(graded_images(config, base), batch_size=BATCH, shuffle=True, drop_last=True)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.05)
    steps = EPOCHS * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 0.5 * (1 + math.cos(math.pi * i / steps)))
    contract = Contract(size=SIZE)
    mean, std = torch.tensor(contract.mean), torch.tensor(contract.std)
    for epoch in range(EPOCHS):
        losses = []
        for pixels, labels, _ in loader:
            x = normalise(pixels, mean, std).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = head(model(x))
            loss = cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
