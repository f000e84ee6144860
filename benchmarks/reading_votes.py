"""What the released descriptor says of people without a reader, to stand beside readers.

votes         the mean labels of the K most alike people trained on, by the similarity of
              `foveola search --left --right`
regression    logistic regression on the mean and the difference of both eyes' descriptors, its
              strength chosen by folds of the people trained on
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from foveola.encoders.encoder import Encoded, Encoder
from foveola.metrics.multilabel import choose_thresholds
from foveola.people import People, people_of
from foveola.people_search import person_similarity
from foveola.records import Case
from foveola.training.config import PeopleConfig
from foveola.training.prepared import HELD, JUDGED, TRAINED, parted_cases

K = 20  # fixed before anything was looked at
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)

Arrays = dict[str, NDArray[np.float64]]


Ask = Callable[["Described", str], NDArray[np.float64]]


def by_descriptor(config: PeopleConfig, base: Path, out: Path) -> dict[str, Arrays]:
    """Truth of the people held back, and what is said of both eyes, of one, and exchanged."""
    cases: dict[str, list[Case]] = {TRAINED: [], JUDGED: [], HELD: []}
    for _, parted in parted_cases(config, base, out):
        for part, of in parted.items():
            cases[part] += of
    trained, judged, held = (Described(cases[part], config.labels) for part in cases)
    ways: dict[str, Ask] = {"votes": lambda people, view: people.ask(trained, view), "regression": regression(trained)}
    return {name: said(ask, judged, held) for name, ask in ways.items()}


def said(ask: Ask, judged: "Described", held: "Described") -> Arrays:
    """As a run of `reading.py` keeps it."""
    chosen = choose_thresholds(judged.truth > 0, ask(judged, "both"))
    views = {view: ask(held, view) for view in ("both", "left", "right", "exchanged")}
    return views | {"truth": held.truth, "present": held.people.present, "thresholds": chosen}


def regression(trained: "Described") -> Ask:
    """One for each label."""
    of = [
        make_pipeline(
            StandardScaler(),
            LogisticRegressionCV(
                Cs=STRENGTHS, l1_ratios=(0,), cv=5, scoring="neg_log_loss", max_iter=3000, use_legacy_attributes=False
            ),
        ).fit(trained.features("both"), label > 0)
        for label in trained.truth.T
    ]
    return lambda people, view: np.stack([each.predict_proba(people.features(view))[:, 1] for each in of], 1)


class Described:
    """People whose labels are known, with the descriptors of their eyes."""

    def __init__(self, cases: list[Case], labels: tuple[str, ...]) -> None:
        self.encoder = Encoder.load()
        done = [e for e in self.encoder.encode_cases(cases) if isinstance(e, Encoded)]
        people = people_of([e.case for e in done], labels)
        known = np.flatnonzero(~np.isnan(people.truth).any(axis=1))
        self.people: People = people.of(known)
        self.truth = self.people.truth
        rows = np.stack([e.descriptor for e in done])
        self.eyes = rows[self.people.photographs].astype(np.float64)  # (P, 2, D)
        self.eyes[~self.people.present] = np.nan

    def ask(self, gallery: "Described", view: str) -> NDArray[np.float64]:
        """(P, L): each person's nearest in the gallery, by the eyes of a view."""
        said = np.full(self.truth.shape, np.nan)
        for i, own in enumerate(self.seen(view)):
            if np.isnan(own).all():
                continue
            cosines = np.einsum("id,pjd->ijp", own, gallery.eyes)
            nearest = np.argsort(-person_similarity(cosines))[:K]
            said[i] = gallery.truth[nearest].mean(axis=0)
        return said

    def seen(self, view: str) -> NDArray[np.float64]:
        """(P, 2, D), NaN of an eye that is not seen."""
        eyes = self.eyes[:, ::-1] if view == "exchanged" else self.eyes.copy()
        if view in ("left", "right"):
            eyes[:, 1 if view == "left" else 0] = np.nan
        return eyes

    def features(self, view: str) -> NDArray[np.float64]:
        """(P, 2 D) that do not change where the eyes are exchanged; a missing eye is as the other.

        Of a person of whom no eye is seen they are 0.
        """
        eyes = self.seen(view)
        eyes = np.where(np.isnan(eyes), eyes[:, ::-1], eyes)
        return np.nan_to_num(np.concatenate([eyes.mean(1), np.abs(eyes[:, 0] - eyes[:, 1])], 1))
