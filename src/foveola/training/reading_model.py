"""A reader of both eyes before training: built, and started from weights.

model = build_reader(config, base)
answer = answer_of(config)
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from foveola.encoders.parts import convolutions
from foveola.encoders.release import RELEASED
from foveola.errors import ConfigError
from foveola.models.answer import Answer
from foveola.models.binocular import GLUON, BinocularModel
from foveola.models.weights import load_folded, load_weights
from foveola.people import NORMAL
from foveola.training.reading_config import ReaderConfig, ReadingConfig


def build_reader(config: ReadingConfig, base: Path) -> BinocularModel:
    """The model of a configuration as it is before training."""
    of = config.model
    model = BinocularModel(
        len(config.data.labels),
        of.backbone,
        attention=of.attention,
        blocks=of.blocks,
        fusion=of.fusion,
        width=of.width,
        feature=of.feature,
        dropout=of.dropout,
        shared=of.shared,
        whole=of.whole,
    )
    if of.weights:
        for trunk in model.backbones:
            _load(trunk, of, base)
    model.freeze(of.freeze)
    return model.to(memory_format=torch.channels_last)


def _load(trunk: nn.Module, of: ReaderConfig, base: Path) -> None:
    path = base / str(of.weights)
    if not path.exists() and not (RELEASED / str(of.weights)).exists():
        raise ConfigError(f"weights: {path} does not exist")
    if not path.is_file():
        _load_released(trunk, of, path if path.is_dir() else str(of.weights))
    elif of.backbone == GLUON:
        trunk.load_gluon(path)  # type: ignore[operator]
    else:
        load_weights(trunk.get_submodule("body"), path, beyond=True)


def _load_released(trunk: nn.Module, of: ReaderConfig, source: str | Path) -> None:
    ends: Sequence[str] = trunk.ends  # type: ignore[assignment]
    if of.freeze != len(ends):
        raise ConfigError(
            f"freeze is {of.freeze}; an encoder's statistics are folded into its weights, so all "
            f"{len(ends)} stages taken from {of.weights} must keep them: set freeze = {len(ends)}"
        )
    load_folded(trunk, convolutions(source), str(of.weights))


def answer_of(config: ReadingConfig) -> Answer:
    """How a configuration's model answers, before its temperatures are fitted."""
    return Answer(
        config.data.labels,
        normal=NORMAL,
        softmax=config.loss.name == "softmax",
        monocular=not config.loss.person_weight,
    )
