"""Learn what the labels of an archive look like: which labels a descriptor makes likely.

Shapes: N cases, D numbers of a descriptor, K label values, P people.

People are never divided: a probability that anything is chosen, calibrated or ranked by comes from
a fit without the person it is about. The result depends on descriptors, labels and the order of the
cases only, so that an archive which never held a person learns the same to the last digit as one
that forgot them.

An archive of few labels starts from the encoder's own classifier, a file beside the encoder. That
is fitted to the descriptors of the photographs that the encoder was trained on, and calibrated on
people whom training did not see.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from foveola import files
from foveola.errors import EncoderError, damaged
from foveola.relevance.calibrate import Calibrated, Scaling, as_common, calibrate, read_curve, restricted
from foveola.relevance.labels import Bools, Ids, LabelTable
from foveola.relevance.linear import TOLERANCE, Floats, Linear, Vectors, balanced, fit_linear
from foveola.relevance.order import Relevance, logits_apart

FOLDS = 5
LEAST_PEOPLE = 6  # who have a label value, below which it is not learnt
ENOUGH = 100  # people new to the encoder, from whom alone is learnt where there are so many
PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # tried, strongest first
PATIENCE = 1  # steps to weaker penalties that are tried without a gain
_STEP = 2  # of the penalties, at first
_ROUGH = 1e-4  # tolerance of fits that only choose
MOST = 10_000  # cases that the penalty is chosen on; more choose the same and take minutes
_ONE = Lock()  # a limit of threads that ends while another begins would stay
KNOWN = 0.3  # penalty of what an archive adds to the prior, all of which the encoder was trained on
STRONGER = 10.0  # times the penalty, where the encoder was trained on the cases learnt from
CLASSIFIER = "classifier.npz"  # in the folder of an encoder
PENALTY = 0.01


@dataclass(frozen=True, eq=False)
class Prior:
    """The encoder's own classifier, from which an archive of few labels starts.

    Attributes:
        values: its K0 label values.
        linear: on descriptors.
        calibrated: on people whom neither it nor the encoder was trained on.
    """

    values: tuple[str, ...]
    linear: Linear
    calibrated: Calibrated

    def of_values(self, values: tuple[str, ...]) -> "Prior":
        """Return the prior of these values; one that it does not know gets a logit of 0."""
        at = np.array([self.values.index(v) if v in self.values else -1 for v in values])
        weights = np.where(at >= 0, self.linear.weights[:, at], 0).astype(np.float32)
        bias = np.where(at >= 0, self.linear.bias[at], 0).astype(np.float32)
        scalings = [restricted(s, at) for s in (self.calibrated.even, self.calibrated.natural)]
        told = replace(self.calibrated, even=scalings[0], natural=scalings[1])
        return Prior(values, Linear(weights, bias), told)

    def covers(self, values: tuple[str, ...]) -> int:
        """Return how many of these values it knows."""
        return len(set(values) & set(self.values))


class TooFewError(ValueError):
    """There are too few labels to learn from; the message says how many, and how many it takes."""


def learn(
    descriptors: Vectors, labels: LabelTable, people: Ids, *, seen: Bools | None = None, prior: Prior | None = None
) -> Relevance:
    """Learn which labels a descriptor makes likely.

    A balanced logistic regression (softmax for one value a case, one sigmoid for each finding) on
    top of the prior's logits where there is a prior. Its penalty is chosen, and its probabilities
    are calibrated, by FOLDS folds of people.

    Args:
        descriptors: float32 (N, D), unit vectors.
        labels: of the N cases.
        people: int64 (N,), whose they are; numbers in order of first appearance.
        seen: bool (N,), cases that the encoder was trained on. It is surer of these than of others:
            where ENOUGH other people have labels they alone are learnt from. Otherwise the prior,
            which is calibrated on others, answers together with a fit under a strong penalty;
            without a prior the penalty is STRONGER.
        prior: of the encoder, if it has one for this label.

    Raises:
        TooFewError: fewer than two values (one finding) have LEAST_PEOPLE people.
    """
    import scipy.optimize  # noqa: F401 - before its threads are limited; a search does without it

    with _ONE, threadpool_limits(1, user_api="blas"):  # the same sums on any number of cores
        return _learn(descriptors, labels, people, seen, prior)


def _learn(descriptors: Vectors, labels: LabelTable, people: Ids, seen: Bools | None, prior: Prior | None) -> Relevance:
    recorded = [v for v, own in zip(labels.values, labels.members.T, strict=True) if own.any()]
    labels = labels.of_values(learnable(labels, people))
    chosen, new = _learnt_from(labels, people, seen)
    covered = 0 if prior is None else prior.covers(labels.values)
    least = 2 if labels.link == "softmax" else 1
    known = prior.of_values(labels.values) if prior is not None and covered >= least else None
    # whether the prior is the calibration: the cases can't be, whom the encoder knows
    answers = None if new or covered < len(labels.values) else known
    fold = np.full(len(people), -1, np.int8)
    x, of, who = descriptors[chosen], labels.rows(chosen), people[chosen]
    fold[chosen] = dealt = folds(of, who)
    penalty, held, begun = (KNOWN, None, [None] * FOLDS) if answers is not None else _choose(x, of, dealt, known)
    if not new and answers is None:
        penalty = penalty * STRONGER

    def fit(rows: Bools, k: int) -> Linear:
        made = _whole(_fit(x[rows], of.rows(rows), penalty, held, begun[k]), held)
        return made if answers is None else _between(answers.linear, made, x[rows])

    whole = fit(np.ones(len(x), bool), 0)
    apart = tuple(fit(dealt != k, k) for k in range(FOLDS))
    if answers is not None:
        even = answers.calibrated.even
        told = replace(answers.calibrated, natural=as_common(even, labels), new=True)
    else:
        logits = logits_apart(whole, apart, dealt, x)
        told = replace(calibrate(logits, of.members, who, link=of.link), new=new)
    return Relevance(
        label=labels.label,
        values=labels.values,
        link=labels.link,
        linear=whole,
        apart=apart,
        fold=fold,
        calibrated=told,
        cases=len(x),
        unlearnt=tuple(value for value in recorded if value not in labels.values),
    )


def learnable(labels: LabelTable, people: Ids) -> tuple[str, ...]:
    """Return the values that LEAST_PEOPLE people have (and of findings, as many have not).

    Raises:
        TooFewError: fewer than two such values, or no such finding.
    """
    kept = []
    several = labels.link == "sigmoid"
    for k, value in enumerate(labels.values):
        has = len(np.unique(people[labels.known & labels.members[:, k]]))
        lacks = len(np.unique(people[labels.known & ~labels.members[:, k]]))
        if has >= LEAST_PEOPLE and (lacks >= LEAST_PEOPLE or not several):
            kept.append(value)
    if len(kept) < (1 if several else 2):
        raise TooFewError(
            f"{labels.label}: {int(labels.known.sum())} cases have one, and {len(kept)} of its "
            f"{len(labels.values)} values are {'found and missing in' if several else 'those of'} "
            f"{LEAST_PEOPLE} people or more; expected {'one finding' if several else 'two values'} "
            "or more that are, so record more labels"
        )
    return tuple(kept)


def folds(labels: LabelTable, people: Ids) -> Ids:
    """Return (N,) the fold of each case, 0 to FOLDS - 1: whole people, each value spread evenly.

    People are dealt out by their rarest value, the rarest first, in order of first appearance.
    """
    rarity = np.argsort(np.argsort(labels.members.sum(axis=0), kind="stable"))  # 0 is the rarest
    K = len(rarity)
    _, first, at = np.unique(people, return_index=True, return_inverse=True)
    rarest = np.full(len(first), K)
    np.minimum.at(rarest, at, np.where(labels.members, rarity, K).min(axis=1, initial=K))
    dealt = np.empty(len(first), np.int64)
    dealt[np.lexsort((first, rarest))] = np.arange(len(first)) % FOLDS
    return dealt[at]


def _learnt_from(labels: LabelTable, people: Ids, seen: Bools | None) -> tuple[Bools, bool]:
    """Which cases are learnt from, and whether all of them are of people new to the encoder."""
    others = labels.known if seen is None else labels.known & ~np.isin(people, people[seen])
    if (others == labels.known).all():
        return labels.known, True
    try:
        whole = learnable(labels.rows(others), people[others]) == labels.values
    except TooFewError:
        whole = False
    if whole and len(np.unique(people[others])) >= ENOUGH:
        return others, True
    return labels.known, False


def _choose(
    x: Vectors, labels: LabelTable, fold: Ids, prior: Prior | None
) -> tuple[float | Floats, Prior | None, list[Linear | None]]:
    """What is best by cross-entropy.

    Returns:
        The penalty, for findings one each; whether to start from the prior; and a fit without each
        fold, made on the way, that another without it may start from.
    """
    if len(x) > MOST:
        some = np.arange(0, len(x), -(-len(x) // MOST))
        x, labels, fold = x[some], labels.rows(some), fold[some]
    tried = [_Trial(x, labels, fold, start) for start in dict.fromkeys((prior, None))]
    for trial in tried:
        trial.run()
    best = min(tried, key=lambda each: float(each.losses.mean()))
    chosen = np.array(PENALTIES)[best.at]
    penalty = float(chosen[0]) if labels.link == "softmax" else chosen
    return penalty, best.prior, best.fits


class _Trial:
    """Penalties tried one after the other, each fit beginning where the last one ended.

    Attributes:
        prior: that all fits stand on.
        fits: the last one without each fold.
        at, losses: (1,) for softmax, (K,) for sigmoid: the best penalty, and what it has.
    """

    def __init__(self, x: Vectors, labels: LabelTable, fold: Ids, prior: Prior | None) -> None:
        self.prior = prior
        self.fits: list[Linear | None] = [None] * FOLDS
        self._x, self._labels, self._fold = x, labels, fold
        self._weights = balanced(labels.members, labels.link)
        columns = 1 if labels.link == "softmax" else labels.members.shape[1]
        self.at, self.losses = np.zeros(columns, np.int64), np.full(columns, np.inf)

    def run(self) -> None:
        """Try each second penalty until all are past their best, then those beside the best."""
        for i in range(0, len(PENALTIES), _STEP):
            self._try(np.full(len(self.at), i))
            if (self.at + _STEP * PATIENCE <= i).all():
                break  # they follow the cases too closely by now
        coarse = self.at.copy()
        for side in (-1, 1):
            self._try(np.clip(coarse + side, 0, len(PENALTIES) - 1))

    def _try(self, at: Ids) -> None:
        penalty = np.array(PENALTIES)[at]
        found = self._losses(float(penalty[0]) if self._labels.link == "softmax" else penalty)
        better = found < self.losses
        self.at = np.where(better, at, self.at)
        self.losses = np.where(better, found, self.losses)

    def _losses(self, penalty: float | Floats) -> Floats:
        """Balanced cross-entropy of people outside the fit."""
        x, labels, fold = self._x, self._labels, self._fold
        logits = np.zeros(labels.members.shape)
        for k in range(FOLDS):
            out = fold == k
            if out.any() and not out.all():
                made = _fit(x[~out], labels.rows(~out), penalty, self.prior, self.fits[k], _ROUGH)
                self.fits[k] = made
                logits[out] = _whole(made, self.prior).logits(x[out])
        members, weights = labels.members, self._weights
        if labels.link == "softmax":
            high = logits.max(axis=1)
            each = high + np.log(np.exp(logits - high[:, None]).sum(axis=1))
            return np.array([((each - (logits * members).sum(axis=1)) * weights).mean()])
        return np.asarray(((np.logaddexp(0, logits) - logits * members) * weights).mean(axis=0))


def _fit(
    x: Vectors,
    labels: LabelTable,
    penalty: float | Floats,
    prior: Prior | None,
    start: Linear | None = None,
    tolerance: float = TOLERANCE,
) -> Linear:
    """A balanced fit: what it adds to the prior."""
    return fit_linear(
        x,
        labels.members,
        balanced(labels.members, labels.link),
        link=labels.link,
        penalty=penalty,
        prior=None if prior is None else prior.linear.logits(x),
        start=start,
        tolerance=tolerance,
    )


def _between(prior: Linear, own: Linear, x: Vectors) -> Linear:
    """The mean of both classifiers' logits, the second's brought to the width of the first's.

    So that the prior's calibration, on people whom neither was fitted to, still holds.
    """
    width = np.float32(prior.logits(x).std(axis=0).mean() / own.logits(x).std(axis=0).mean())
    half = np.float32(0.5)
    return Linear(half * (prior.weights + width * own.weights), half * (prior.bias + width * own.bias))


def _whole(made: Linear, prior: Prior | None) -> Linear:
    """What a fit adds to the prior, and the prior itself, as one classifier."""
    if prior is None:
        return made
    scale = np.float32(made.scale)
    return Linear(made.weights + scale * prior.linear.weights, made.bias + scale * prior.linear.bias)


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
