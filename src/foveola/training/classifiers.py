"""The classifier that is released beside an encoder: what its descriptors say of known labels."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.release import add_parts
from foveola.records import Case
from foveola.relevance.labels import FINDINGS, GRADE, LabelTable, codes_of
from foveola.relevance.learn import CLASSIFIER, Prior, TooFewError, fit_prior, learnable, save_priors
from foveola.relevance.linear import Vectors
from foveola.training.prepared import Prepared, Report


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
