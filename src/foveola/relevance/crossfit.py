"""Scores for an evaluation, from fits that never saw the person who asks.

Shapes: Q queries, B of them in a block, N gallery cases, K label values.

Either every case asks the others: people are dealt into folds, and each fold is asked of what all
others taught. Or queries are photographs of their own: the gallery alone teaches, without whoever
asks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.relevance.labels import Bools, Ids, LabelTable, codes_of
from foveola.relevance.learn import Prior, folds, learn
from foveola.relevance.linear import Floats, Vectors
from foveola.relevance.order import FIRST, SHARES, Asked, Relevance, codes_in, spread, targets_of


@dataclass(frozen=True, eq=False)
class _Fold:
    """What some people taught, as an order of the whole gallery."""

    targets: Vectors  # (N, K)
    codes: Ids  # (N,)


@dataclass(frozen=True, eq=False)
class LearnedScores:
    """Scores by learned relevance, as `foveola.metrics.evaluate_retrieval` takes them.

    Attributes:
        wanted: float64 (Q, K), what each query asks for; K of its own fold.
        fold: int64 (Q,), who answers each query.
        folds: what each learned.
        share: of the agreement in the score.
    """

    wanted: tuple[Floats, ...]
    fold: Ids
    folds: tuple[_Fold, ...]
    share: float

    def restricted(self, queries: Ids, gallery: Ids) -> "LearnedScores":
        """Return the scores of some of the queries and of the gallery."""
        return LearnedScores(
            tuple(self.wanted[i] for i in queries),
            self.fold[queries],
            tuple(_Fold(f.targets[gallery], f.codes[gallery]) for f in self.folds),
            self.share,
        )

    def of_block(self, part: slice, cosines: Floats, excluded: Bools) -> Floats:
        """Return float64 (B, N) scores in [-1, 1] that order the gallery as a search would."""
        scores = np.empty_like(cosines)
        fold = self.fold[part]
        for k in np.unique(fold):
            rows, of = np.flatnonzero(fold == k), self.folds[k]
            wanted = np.stack([self.wanted[part.start + row] for row in rows])
            agreements = wanted @ of.targets.T.astype(np.float64)
            for row, want, agreement in zip(rows, wanted, agreements, strict=True):
                asked = Asked(want, of.targets, of.codes, self.share)
                score = (1 - self.share) * cosines[row] + self.share * agreement
                scores[row] = _spread(score, cosines[row], agreement, asked, excluded[row])
        return scores


def cross_fitted(
    descriptors: Vectors, labels: LabelTable, people: Ids, *, seen: Bools | None = None, prior: Prior | None = None
) -> LearnedScores:
    """Return scores for each of N cases against all others, by folds of people.

    Args:
        descriptors: float32 (N, D).
        labels: of the cases.
        people: int64 (N,), whose they are.
        seen: bool (N,), cases that the encoder was trained on.
        prior: of the encoder.

    Raises:
        TooFewError: the others of some fold have too few labels.
    """
    known = np.flatnonzero(labels.known)
    fold = np.zeros(len(people), np.int64)
    fold[known] = folds(labels.rows(known), people[known])
    taught = []
    wanted: list[Floats] = [np.empty(0)] * len(people)
    for k in range(int(fold.max()) + 1):
        own = np.unique(people[(fold == k) & labels.known])
        others = ~np.isin(people, own)
        made = _learnt(descriptors, labels, people, others, seen, prior)
        taught.append(_gallery(made, descriptors, labels, others))
        for i in np.flatnonzero(fold == k):
            wanted[i] = made.wanted(made.logits(descriptors[i : i + 1]))[0]
    return LearnedScores(tuple(wanted), fold, tuple(taught), SHARES["learned"])


def fitted_to_gallery(
    queries: Vectors,
    asking: Ids,
    gallery: Vectors,
    labels: LabelTable,
    people: Ids,
    *,
    seen: Bools | None = None,
    prior: Prior | None = None,
) -> LearnedScores:
    """Return scores of queries against a gallery that taught what is relevant.

    Args:
        queries: float32 (Q, D).
        asking: int64 (Q,), whose they are, in the numbers of `people`; people who ask are left out
            of what is learnt.
        gallery: float32 (N, D).
        labels: of the gallery.
        people: int64 (N,).
        seen: bool (N,), cases that the encoder was trained on.
        prior: of the encoder.

    Raises:
        TooFewError: the gallery has too few labels of people who do not ask.
    """
    others = ~np.isin(people, asking)
    made = _learnt(gallery, labels, people, others, seen, prior)
    return LearnedScores(
        tuple(made.wanted(made.logits(queries))),
        np.zeros(len(queries), np.int64),
        (_gallery(made, gallery, labels, others),),
        SHARES["learned"],
    )


def _learnt(
    descriptors: Vectors, labels: LabelTable, people: Ids, chosen: Bools, seen: Bools | None, prior: Prior | None
) -> Relevance:
    """What the chosen cases teach, numbered as if there were no others."""
    return learn(
        descriptors[chosen],
        labels.rows(chosen),
        codes_of(people[chosen].tolist()),
        seen=None if seen is None else seen[chosen],
        prior=prior,
    )


def _gallery(made: Relevance, gallery: Vectors, labels: LabelTable, taught: Bools) -> _Fold:
    fold = np.full(len(gallery), -1, np.int8)
    fold[taught] = made.fold
    recorded = labels.of_values(made.values)
    said = made.shares(made.logits(gallery, fold))
    return _Fold(targets_of(recorded, said), codes_in(recorded))


def _spread(score: Floats, cosines: Floats, agreements: Floats, asked: Asked, excluded: Bools) -> Floats:
    """The scores with the first ones raised in the order in which a search would show them."""
    rivals = asked.rivals()
    if not len(rivals):
        return score
    pool = [_best(score, ~excluded)]
    pool += [_best(score, ~excluded & (asked.codes == value)) for value in rivals]
    near = np.unique(np.concatenate(pool))
    near = near[np.lexsort((near, -score[near]))]
    chosen = near[spread(cosines[near], agreements[near], asked.codes[near], asked.share, FIRST)]
    raised = score * 0.99
    raised[chosen] = 1 - np.arange(len(chosen)) * 1e-4
    return raised


def _best(score: Floats, allowed: Bools) -> NDArray[np.int64]:
    places = np.flatnonzero(allowed)
    if len(places) <= FIRST:
        return places
    return places[np.argpartition(-score[places], FIRST)[:FIRST]]
