"""What is fitted once the network is trained: fewer numbers, and the part that says labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveola.errors import ConfigError
from foveola.images.fundus import Contract
from foveola.models.descriptor import DescriptorModel
from foveola.models.labels import LabelPart, fit_classifier
from foveola.training.config import ModelConfig
from foveola.training.data import pack
from foveola.training.maps import pool_all
from foveola.training.prepared import Prepared, Report


def finish(
    config: ModelConfig, model: DescriptorModel, prepared: Prepared, contract: Contract, cache: Path, report: Report
) -> None:
    """Fit what the configuration asks for to the images trained on, and put it into the model.

    To the images as an archive encodes them: packed ones are scaled once more, and what is
    fitted closely to those misses the images of a gallery by what that blurs.
    """
    codes = prepared.labels.codes
    trained = np.flatnonzero(codes >= 0)
    images, read, _ = pack([prepared.cases[i] for i in trained], contract, cache)
    features = pool_all(model, images, contract, report=report)
    if config.reduce:
        model.project(principal_axes(features, config.reduce))
    if config.label_share:
        names = prepared.labels.names
        model.add_labels(label_part(config, features, codes[trained[read]], names, report))


def principal_axes(features: Tensor, count: int) -> Tensor:
    """(count, C): the directions that keep most of the cosines of (N, C) features.

    Not centred, as cosines aren't: they are of the angles at the origin.

    Raises:
        ConfigError: there are fewer than `count` features or images.
    """
    if count > min(features.shape):
        raise ConfigError(f"reduce is {count}, but there are {len(features)} images to fit it to")
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    axes: Tensor = torch.linalg.svd(unit, full_matrices=False).Vh[:count].float()
    return axes


def label_part(
    config: ModelConfig, features: Tensor, codes: NDArray[np.int64], names: Sequence[str], report: Report
) -> LabelPart:
    """Fitted to features (N, C) and codes (N,) of the labels' names."""
    kept = np.unique(codes)  # a label may be held out as a whole
    part = LabelPart(features.shape[1], [names[i] for i in kept], config.label_share)
    right = fit_classifier(
        part.classifier, features, torch.from_numpy(np.searchsorted(kept, codes)), strength=config.label_strength
    )
    report(f"labels: {right:.3f} of the images trained on, mean over {len(kept)} labels")
    part.sharpen(config.label_sharpness)
    return part
