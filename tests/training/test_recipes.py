"""Every recipe is a configuration that this version understands and can build a model for."""

from dataclasses import replace
from pathlib import Path

import pytest

from foveola.config import load_config
from foveola.models.descriptor import DescriptorModel
from foveola.training.config import ReadingConfig, TrainConfig
from foveola.training.evidence import read_rows
from foveola.training.losses import Criterion
from foveola.training.reading import build_reader

FOLDER = Path(__file__).parents[2] / "recipes"
TABLES = [
    FOLDER / name for name in ("evidence.toml", "matching.toml", "matching-chest.toml", "matching-vessels.toml")
]  # of many configurations
READINGS = [FOLDER / "reading.toml"]  # likewise, of readers
READERS = [FOLDER / "fundus-reading-1.toml"]
RECIPES = sorted(path for path in FOLDER.glob("*.toml") if path not in TABLES + READINGS + READERS)
CONFIGS = [load_config(path, TrainConfig) for path in RECIPES]
CONFIGS += [row.config for table in TABLES for row in read_rows(table)]


def test_a_recipe_is_named_after_its_file():
    assert [config.name for config in CONFIGS[: len(RECIPES)]] == [path.stem for path in RECIPES]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_recipe_can_be_read_and_its_parts_made(config):
    model = DescriptorModel(
        config.model.backbone,
        config.model.dimension or None,
        attention=config.model.attention,
        views=config.model.views,
        gate=config.model.gate,
        fusion=config.model.fusion,
        pooling=config.model.pooling,
        in_channels=config.model.in_channels,
        green=config.model.green,
    )
    settings = {"dimension": model.dimension, "width": model.width, "findings": 3}
    assert Criterion(config.loss, labels=5, **settings)


@pytest.mark.parametrize(
    "config",
    [row.config for path in READINGS for row in read_rows(path, ReadingConfig)]
    + [load_config(path, ReadingConfig) for path in READERS],
    ids=lambda config: config.name,
)
def test_a_recipe_of_a_reader_can_be_read_and_its_model_made(config):
    model = build_reader(replace(config, model=replace(config.model, weights=None)), FOLDER)
    assert (config.data.variants > 0) == (model.frozen_end is not None)
