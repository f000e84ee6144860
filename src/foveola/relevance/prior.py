"""The encoder's own classifier, kept beside it: where an archive of few labels starts from.

It is fitted to the descriptors of the photographs that the encoder was trained on, and calibrated
on people whom training did not see.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola import files
from foveola.errors import EncoderError, damaged
from foveola.relevance.calibrate import Calibrated, Scaling, calibrate
from foveola.relevance.curve import read_curve
from foveola.relevance.labels import LabelTable
from foveola.relevance.learn import Prior
from foveola.relevance.linear import Linear, Vectors, balanced, fit_linear

CLASSIFIER = "classifier.npz"  # in the folder of an encoder
PENALTY = 0.01


def fit_prior(
    descriptors: Vectors, labels: LabelTable, others: Vectors, of_others: LabelTable, people: NDArray[np.int64]
) -> Prior:
    """Fit to photographs that the encoder was trained on, and calibrate on others.

    Args:
        descriptors: float32 (N, D).
        labels: of these.
        others: float32 (M, D), of people whom the encoder was not trained on.
        of_others: their labels, of the same values.
        people: int64 (M,), whose they are.
    """
    x, own = descriptors[labels.known], labels.rows(labels.known)
    weights = balanced(own.members, own.link)
    linear = fit_linear(x, own.members, weights, link=own.link, penalty=PENALTY)
    known = of_others.known
    told = calibrate(linear.logits(others[known]), of_others.members[known], people[known], link=own.link)
    return Prior(labels.values, linear, told)


def save_priors(priors: dict[str, Prior], folder: Path) -> None:
    """Write the classifiers of each label beside an encoder: wholly, or not at all."""
    arrays: dict[str, NDArray[np.generic]] = {}
    about = []
    for i, (label, prior) in enumerate(priors.items()):
        told = prior.calibrated
        arrays[f"{i}.weights"], arrays[f"{i}.bias"] = prior.linear.weights, prior.linear.bias
        scalings = (told.even, told.natural)
        arrays[f"{i}.scaling"] = np.array([[s.slope, s.shift] for s in scalings])
        curve = None if told.curve is None else asdict(told.curve)
        about.append({"label": label, "values": prior.values, "people": told.people, "curve": curve})
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    files.save_arrays(folder / CLASSIFIER, arrays)


def load_priors(folder: Path) -> dict[str, Prior]:
    """Read the classifiers from the folder of an encoder; none where there is no file of them.

    Raises:
        EncoderError: the file is damaged.
    """
    path = folder / CLASSIFIER
    priors = {}
    try:
        kept = files.load_arrays(path)
        for i, of in enumerate(json.loads(kept["about"].tobytes())):
            even, natural = (Scaling(*pair) for pair in kept[f"{i}.scaling"])
            told = Calibrated(even, natural, read_curve(of["curve"]), of["people"])
            linear = Linear(kept[f"{i}.weights"], kept[f"{i}.bias"])
            priors[of["label"]] = Prior(tuple(of["values"]), linear, told)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        raise EncoderError(damaged(path)) from None
    return priors
