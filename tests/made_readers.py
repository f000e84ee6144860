"""Readers with random weights, for tests of what is done with a reader."""

import numpy as np
import torch

from foveola.models.binocular import BinocularModel
from foveola.people import People
from foveola.training.config import PeopleConfig, ReaderConfig, ReadingConfig
from foveola.training.prepared import PreparedPeople
from foveola.training.reading import ReaderRun, Readings, ReadingTraining

LABELS = ("N", "D", "G")
SIZE = 64


def config_of(**model):
    model = {"backbone": "mobilenetv2_035", "image_size": SIZE, "width": 16, "feature": 8} | model
    data = PeopleConfig(manifests=("x.csv",), labels=LABELS)
    return ReadingConfig(name="made-reader", data=data, model=ReaderConfig(**model), licence="none")


def run_of(config, seed=0):
    """A run that never was: a random network, and what it says of random people."""
    torch.manual_seed(seed)
    rng, of = np.random.default_rng(seed), config.model
    model = BinocularModel(3, of.backbone, attention=of.attention, blocks=1, fusion=of.fusion, width=16, feature=8)
    model.train()(torch.randn(6, 2, 3, SIZE, SIZE))  # statistics of its own
    truth = (rng.random((20, 3)) < 0.4).astype(np.float32)
    people = People(
        np.zeros((20, 2), np.int64),
        truth,
        np.repeat(truth[:, None], 2, 1),
        tuple(("made", str(i // 2)) for i in range(20)),
        LABELS,
    )
    said = Readings(people, rng.random((20, 3)).astype(np.float32), people.eyes, truth)
    module = ReadingTraining(config, model.eval(), torch.ones(3), 1, people)
    module.answer.set_temperatures(1.5, 0.7)
    prepared = PreparedPeople(np.zeros((1, SIZE, SIZE, 3), np.uint8), people, ("held",) * 20, [])
    thresholds, alone = np.array([0.3, 0.5, 0.6]), np.array([0.2, 0.4, 0.7])
    return ReaderRun(module, thresholds, alone, prepared, None, said, said)
