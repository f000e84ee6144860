"""What the released descriptor's nearest people say, to stand beside readers.

Each person held back gets the mean labels of the K most alike people trained on, by the
similarity of `foveola search --left --right`.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Case
from foveola.encoders.encoder import Encoded, Encoder
from foveola.evaluation.reading import choose_thresholds
from foveola.people import People, people_of
from foveola.people_search.search import person_similarity
from foveola.training.prepared import HELD, JUDGED, TRAINED, collections_of, parts_of
from foveola.training.reading_config import PeopleConfig

K = 20  # fixed before anything was looked at

Arrays = dict[str, NDArray[np.float64]]


def votes(config: PeopleConfig, base: Path, out: Path) -> Arrays:
    """Truth and votes of the people held back: with both eyes, one, and the two exchanged."""
    cases: dict[str, list[Case]] = {TRAINED: [], JUDGED: [], HELD: []}
    for path, collection in collections_of(config.manifests, config.collections, base).items():
        for part, of in parts_of(config, path, collection, out).items():
            cases[part] += of
    trained, judged, held = (Described(cases[part], config.labels) for part in cases)
    chosen = choose_thresholds(judged.truth > 0, judged.ask(trained, "both"))
    views = {view: held.ask(trained, view) for view in ("both", "left", "right", "exchanged")}
    return views | {
        "truth": held.truth, "present": held.people.present, "thresholds": chosen,
    }  # fmt: skip


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
        eyes = self.eyes[:, ::-1] if view == "exchanged" else self.eyes.copy()
        if view in ("left", "right"):
            eyes[:, 1 if view == "left" else 0] = np.nan
        said = np.full(self.truth.shape, np.nan)
        for i, own in enumerate(eyes):
            if np.isnan(own).all():
                continue
            cosines = np.einsum("id,pjd->ijp", own, gallery.eyes)
            nearest = np.argsort(-person_similarity(cosines))[:K]
            said[i] = gallery.truth[nearest].mean(axis=0)
        return said
