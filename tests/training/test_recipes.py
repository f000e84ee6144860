"""Every recipe is a configuration that this version understands and can build a model for."""

from pathlib import Path

import pytest

from foveola.config import load_config
from foveola.models.descriptor import DescriptorModel
from foveola.training.config import TrainConfig
from foveola.training.losses import Criterion

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_can_be_read_and_its_parts_made(path):
    config = load_config(path, TrainConfig)
    model = DescriptorModel(
        config.model.backbone,
        config.model.dimension or None,
        attention=config.model.attention,
        views=config.model.views,
        gate=config.model.gate,
        fusion=config.model.fusion,
        in_channels=config.model.in_channels,
    )
    assert Criterion(config.loss, labels=5, dimension=model.dimension)
    assert config.name == path.stem
