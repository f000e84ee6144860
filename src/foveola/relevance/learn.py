"""Learn what the labels of an archive look like: which labels a descriptor makes likely.

Shapes: N cases, D numbers of a descriptor, K label values, P people.

People are never divided: a probability that anything is chosen, calibrated or ranked by comes from
a fit without the person it is about. The result depends on descriptors, labels and the order of the
cases only, so that an archive which never held a person learns the same to the last digit as one
that forgot them.
"""

from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from foveola.relevance.calibrate import Calibrated, calibrate, restricted
from foveola.relevance.labels import Bools, Ids, LabelTable
from foveola.relevance.linear import Floats, Linear, Vectors, balanced, fit_linear
from foveola.relevance.relevance import Relevance, logits_apart

FOLDS = 5
LEAST_PEOPLE = 6  # who have a label value, below which it is not learnt
ENOUGH = 100  # people new to the encoder, from whom alone is learnt where there are so many
PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # tried, strongest first
PATIENCE = 2  # weaker penalties that are tried without a gain
MOST = 10_000  # cases that the penalty is chosen on; more choose the same and take minutes
_FEW = 1 << 22  # numbers of a matrix, below which threads wait for each other longer than they work
STRONGER = 10.0  # times the penalty, where the encoder was trained on the cases learnt from


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
    descriptors: Vectors,
    labels: LabelTable,
    people: Ids,
    *,
    seen: Bools | None = None,
    prior: Prior | None = None,
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
            where ENOUGH other people have labels they alone are learnt from. Otherwise the prior is
            taken as it is, and without one the penalty is STRONGER.
        prior: of the encoder, if it has one for this label.

    Raises:
        TooFewError: fewer than two values (one finding) have LEAST_PEOPLE people.
    """
    import scipy.optimize  # noqa: F401 - before its threads are limited; a search does without it

    few = len(people) * descriptors.shape[1] < _FEW
    with threadpool_limits(1 if few else None, user_api="blas"):
        return _learn(descriptors, labels, people, seen, prior)


def _learn(
    descriptors: Vectors, labels: LabelTable, people: Ids, seen: Bools | None, prior: Prior | None
) -> Relevance:
    labels = labels.of_values(learnable(labels, people))
    chosen, new = _learnt_from(labels, people, seen)
    covered = 0 if prior is None else prior.covers(labels.values)
    least = 2 if labels.link == "softmax" else 1
    known = prior.of_values(labels.values) if prior is not None and covered >= least else None
    fold = np.full(len(people), -1, np.int8)
    if not new and known is not None and covered == len(labels.values):
        told = replace(known.calibrated, new=True)
        return Relevance(
            label=labels.label, values=labels.values, link=labels.link, linear=known.linear,
            apart=(), fold=fold, calibrated=told, cases=0,
        )  # fmt: skip
    x, of, who = descriptors[chosen], labels.rows(chosen), people[chosen]
    dealt = folds(of, who)
    penalty, held = _choose(x, of, dealt, known)
    if not new:
        penalty = penalty * STRONGER
    apart = tuple(_fit(x[dealt != k], of.rows(dealt != k), penalty, held) for k in range(FOLDS))
    whole = _fit(x, of, penalty, held)
    logits = logits_apart(whole, apart, dealt, x)
    fold[chosen] = dealt
    return Relevance(
        label=labels.label, values=labels.values, link=labels.link,
        linear=whole, apart=apart, fold=fold,
        calibrated=replace(calibrate(logits, of.members, who, link=of.link), new=new),
        cases=len(x),
    )  # fmt: skip


def learnable(labels: LabelTable, people: Ids) -> tuple[str, ...]:
    """Return the values that LEAST_PEOPLE people have (and of findings, as many have not).

    Raises:
        TooFewError: fewer than two such values, or no such finding.
    """
    kept = []
    most = 0
    for k, value in enumerate(labels.values):
        has = len(np.unique(people[labels.known & labels.members[:, k]]))
        lacks = len(np.unique(people[labels.known & ~labels.members[:, k]]))
        most = max(most, has)
        if has >= LEAST_PEOPLE and lacks >= LEAST_PEOPLE:
            kept.append(value)
    if len(kept) < (2 if labels.link == "softmax" else 1):
        raise TooFewError(
            f"{labels.label}: {int(labels.known.sum())} cases have one, and {len(kept)} of its "
            f"{len(labels.values)} values are those of {LEAST_PEOPLE} people or more; expected "
            f"{'two values' if labels.link == 'softmax' else 'one finding'} or more that are, so "
            "record more labels"
        )
    return tuple(kept)


def folds(labels: LabelTable, people: Ids) -> Ids:
    """Return (N,) the fold of each case, 0 to FOLDS - 1: whole people, each value spread evenly.

    People are dealt out in order of first appearance, those with a rare value first.
    """
    count = labels.members.sum(axis=0)
    rarest = np.where(labels.members, count, len(labels.members) + 1).min(axis=1, initial=10**9)
    order, first = np.unique(people, return_index=True)
    least = np.full(len(order), np.iinfo(np.int64).max)
    at = np.searchsorted(order, people)
    np.minimum.at(least, at, rarest.astype(np.int64))
    dealt = np.empty(len(order), np.int64)
    dealt[np.lexsort((first, least))] = np.arange(len(order)) % FOLDS
    return dealt[at]


def _learnt_from(labels: LabelTable, people: Ids, seen: Bools | None) -> tuple[Bools, bool]:
    """Which cases are learnt from, and whether all of them are of people new to the encoder."""
    if seen is None or not seen.any():
        return labels.known, True
    others = labels.known & ~np.isin(people, people[seen])
    try:
        whole = learnable(labels.rows(others), people[others]) == labels.values
    except TooFewError:
        whole = False
    if whole and len(np.unique(people[others])) >= ENOUGH:
        return others, True
    return labels.known, False


def _choose(
    x: Vectors, labels: LabelTable, fold: Ids, prior: Prior | None
) -> tuple[float | Floats, Prior | None]:
    """The penalty, for findings one each, and whether to start from the prior: by cross-entropy."""
    if len(x) > MOST:
        some = np.arange(0, len(x), -(-len(x) // MOST))
        x, labels, fold = x[some], labels.rows(some), fold[some]
    weights = balanced(labels.members, labels.link)
    tried = []
    for start in (prior, None) if prior is not None else (None,):
        found: list[Floats] = []
        for penalty in PENALTIES:
            found.append(_losses(x, labels, fold, weights, penalty, start))
            if np.argmin(np.mean(found, axis=1)) < len(found) - PATIENCE:
                break  # it was best some steps ago, and follows the cases too closely by now
        tried.append((np.min(found, axis=0).mean(), np.argmin(found, axis=0), start))
    _, best, start = min(tried, key=lambda each: float(each[0]))
    chosen = np.array(PENALTIES)[best]
    return (float(chosen[0]) if labels.link == "softmax" else chosen), start


def _losses(
    x: Vectors, labels: LabelTable, fold: Ids, weights: Floats, penalty: float, prior: Prior | None
) -> Floats:
    """(1,) for softmax, (K,) for sigmoid: balanced cross-entropy of people outside the fit."""
    logits = np.empty(labels.members.shape)
    for k in range(FOLDS):
        out = fold == k
        if out.any() and not out.all():
            logits[out] = _fit(x[~out], labels.rows(~out), penalty, prior).logits(x[out])
    if labels.link == "softmax":
        high = logits.max(axis=1)
        each = high + np.log(np.exp(logits - high[:, None]).sum(axis=1))
        each -= (logits * labels.members).sum(axis=1)
        return np.array([(each * weights).mean()])
    return np.asarray(((np.logaddexp(0, logits) - logits * labels.members) * weights).mean(axis=0))


def _fit(x: Vectors, labels: LabelTable, penalty: float | Floats, prior: Prior | None) -> Linear:
    """A balanced fit; what it adds to the prior and the prior itself become one classifier."""
    logits = None if prior is None else prior.linear.logits(x)
    weights = balanced(labels.members, labels.link)
    made = fit_linear(x, labels.members, weights, link=labels.link, penalty=penalty, prior=logits)
    if prior is None:
        return made
    scale = np.float32(made.scale)
    return Linear(
        made.weights + scale * prior.linear.weights, made.bias + scale * prior.linear.bias
    )
