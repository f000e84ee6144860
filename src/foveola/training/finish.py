"""What is fitted once the network is trained: fewer numbers, and what says which labels are likely."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.release import add_parts
from foveola.errors import ConfigError
from foveola.images.fundus import Contract
from foveola.models.descriptor import DescriptorModel
from foveola.models.labels import LabelPart, fit_classifier
from foveola.records import Case
from foveola.relevance.labels import FINDINGS, GRADE, LabelTable, codes_of
from foveola.relevance.learn import CLASSIFIER, Prior, TooFewError, fit_prior, learnable, save_priors
from foveola.relevance.linear import Vectors
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
    """Fit the part to features (N, C) and codes (N,) of the labels' names."""
    kept = np.unique(codes)  # a label may be held out as a whole
    part = LabelPart(features.shape[1], [names[i] for i in kept], config.label_share)
    right = fit_classifier(
        part.classifier, features, torch.from_numpy(np.searchsorted(kept, codes)), strength=config.label_strength
    )
    report(f"labels: {right:.3f} of the images trained on, mean over {len(kept)} labels")
    part.sharpen(config.label_sharpness)
    return part


def add_classifiers(folder: Path, prepared: Prepared, report: Report) -> dict[str, Prior]:
    """Fit classifiers of grade and findings, and write them beside a released encoder.

    They are fitted to the photographs trained on, encoded as an archive encodes them, and
    calibrated on the people whom training kept back for validation; without such people there are
    none. Of the findings, those of the collection that has most photographs with some: what another
    collection calls by another word, or never looks for, is no "not there".

    Args:
        folder: of the encoder.
        prepared: what it was trained on.
        report: receives a line for each.

    Returns:
        What was written, by label.
    """
    trained = [prepared.cases[i] for i in np.flatnonzero(prepared.labels.codes >= 0)]
    judged = [prepared.cases[i] for i in prepared.validation]
    if not judged:
        return {}
    encoder = Encoder.load(folder)
    known, of_known = _encoded(encoder, trained)
    others, of_others = _encoded(encoder, judged)
    made: dict[str, Prior] = {}
    for label in (GRADE, FINDINGS):
        own = LabelTable.of(label, _recorded(of_known, label, of_known))
        rest = LabelTable.of(label, _recorded(of_others, label, of_known))
        people = codes_of([case.identity for case in of_others])
        try:
            values = learnable(rest, people)
        except TooFewError:
            continue
        prior = fit_prior(known, own.of_values(values), others, rest.of_values(values), people)
        made[label] = prior
        report(f"classifier of {label}: {len(values)} values, calibrated on {prior.calibrated.people} people")
    save_priors(made, folder)
    add_parts(folder, CLASSIFIER)
    return made


def _encoded(encoder: Encoder, cases: Sequence[Case]) -> tuple[Vectors, list[Case]]:
    good = [item for item in encoder.encode_cases(cases) if isinstance(item, Encoded)]
    return np.stack([item.descriptor for item in good]), [item.case for item in good]


def _recorded(cases: Sequence[Case], label: str, of: Sequence[Case]) -> "list[frozenset[str] | None]":
    if label == GRADE:
        return [None if c.grade is None else frozenset({str(c.grade)}) for c in cases]
    counts = Counter(case.collection for case in of if case.findings)
    most = max(counts, key=lambda name: counts[name], default=None)
    return [case.findings if case.collection == most else None for case in cases]
