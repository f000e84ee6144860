"""Bugs that evaluations are known to have, planted one at a time, each caught by a hand value.

A plant is a line of the source replaced by another. The value on the left is worked by hand and
what the source gives; the value on the right, by hand too, is what the plant gives, so that the
plant is known to do what its name says.
"""

import inspect
import math
import sys
import types
from typing import NamedTuple

import numpy as np
import pytest

from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.metrics import chance as chance_levels

PACKAGE = "foveola.metrics"


def plant(monkeypatch, name, old, new):
    """Replace a piece of a module's source, once and only once, wherever its names are used."""
    module = sys.modules[f"{PACKAGE}.{name}"]
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{name}.py holds {source.count(old)} of {old!r}"
    mutant = types.ModuleType(module.__name__)
    exec(compile(source.replace(old, new), module.__file__, "exec"), vars(mutant))
    users = [user for path, user in sys.modules.items() if path.startswith(PACKAGE)]
    for key, value in vars(mutant).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue  # imported there, not made there
        original = vars(module).get(key)
        for user in users:
            for alias, used in list(vars(user).items()):
                if used is original:
                    monkeypatch.setattr(user, alias, value)


def at(degrees):
    """Descriptors at angles from the query, which lies at 0."""
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def ask(relevant, *, degrees=None, k=1, chance=False):
    """One query of grade 1 against images of other people, in that order unless told."""
    N = len(relevant)
    query = RetrievalData(at([0]), np.array([1]), ["q"], label="grade")
    rows = at(range(10, 10 * N + 10, 10) if degrees is None else degrees)
    gallery = RetrievalData(rows, np.array(relevant), list(range(N)), label="grade")
    metrics = evaluate_retrieval(query, gallery, ks=(k,), bootstrap=0).metrics
    return {name: (m.chance if chance else m.value).micro for name, m in metrics.items()}


GOLDEN = [1, 0, 1, 1, 0]  # hits at ranks 1, 3, 4 of precision 1, 2/3, 3/4


def tied(relevant, k):
    """All images lie in one direction, so the gallery's order decides."""
    return ask(relevant, degrees=[30] * len(relevant), k=k)


def family(exclude):
    """HR@5 of a left eye's first visit, against four images of the same person and a stranger.

    All four are relevant, the stranger is not, so 5 HR@5 is how many were ranked.
    """
    query = RetrievalData(at([0]), np.array([1]), ["p"], label="grade", eyes=["left"], visits=[0])
    gallery = RetrievalData(
        at([10, 20, 30, 40, 50]),
        np.array([1, 1, 1, 1, 0]),
        ["p", "p", "p", "p", "q"],
        label="grade",
        eyes=["left", "left", "right", None, "left"],
        visits=[0, 6, 0, None, 0],
    )
    metrics = evaluate_retrieval(query, gallery, ks=(5,), exclude=exclude, bootstrap=0).metrics
    return metrics["mHR@5"].value.micro


def own_chance(metric):
    """Chance of a query with one fellow eye of its grade, left out, and four strangers."""
    query = RetrievalData(at([0]), np.array([1]), ["p"], label="grade")
    gallery = RetrievalData(at([10, 20, 30, 40, 50]), np.array([1, 1, 0, 0, 0]), list("pabcd"), label="grade")
    return evaluate_retrieval(query, gallery, ks=(2,), bootstrap=0).metrics[metric].chance.micro


def alone():
    """HR@1 of two images of different grades, each against all others: they meet, and miss."""
    side = RetrievalData(at([0, 90]), np.array([0, 1]), list("ab"), label="grade")
    return evaluate_retrieval(side, ks=(1,), exclude="none", bootstrap=0).metrics["mHR@1"].value.micro


class Plant(NamedTuple):
    bug: str
    module: str
    old: str
    new: str
    measure: object  # called without arguments
    right: float
    wrong: float


PLACES = "places = np.arange(N, dtype=np.int64) << 1"
SAME = "same[rows, columns] = (q == g) | (q < 0) | (g < 0)"
HEAD = "return ranked[:, :k]"
DCG_BEST = 1 + 0.75 / math.log2(3)  # a hit, then a neighbouring grade

PLANTS = [
    Plant(
        "ties in reversed order",
        "ranking",
        PLACES,
        PLACES.replace("(N", "(N - 1, -1, -1"),
        lambda: tied([1, 0, 0], 1)["mHR@1"],
        1,
        0,
    ),
    Plant(
        "ties in any order, here the other way round in pairs",
        "ranking",
        PLACES,
        "places = (np.arange(N, dtype=np.int64) ^ 1) << 1",
        lambda: tied([1, 0, 0, 1], 3)["mAP@3"],
        (1 / 1) / 3,
        (1 / 2 + 2 / 3) / 3,
    ),
    Plant(
        "ties broken in favour of what is relevant",
        "ranking",
        "keys |= places\n",
        "keys |= ((~relevance).astype(np.int64) << 20) + places\n",
        lambda: tied([0, 0, 1], 1)["mHR@1"],
        0,
        1,
    ),
    Plant(
        "ties decided by the last bit",
        "ranking",
        "keys = np.rint(scaled, out=scaled).astype(np.int64)",
        "keys = -np.argsort(np.argsort(similarity))",  # cosines 1e-10 apart, equal to the search
        lambda: ask([1, 0], degrees=[0.001, 0.0005])["mHR@1"],
        1,
        0,
    ),
    Plant(
        "the least similar first",
        "ranking",
        "similarity * -_STEPS",
        "similarity * _STEPS",
        lambda: ask([1, 0, 0])["mHR@1"],
        1,
        0,
    ),
    Plant(
        "K one too small", "metrics", HEAD, "return ranked[:, : k - 1]", lambda: ask(GOLDEN, k=3)["mHR@3"], 2 / 3, 1 / 3
    ),
    Plant(
        "K one too large",
        "metrics",
        HEAD,
        "return ranked[:, : k + 1]",
        lambda: ask(GOLDEN, k=3)["mAP@3"],
        (1 + 2 / 3) / 3,
        (1 + 2 / 3 + 3 / 4) / 3,
    ),
    Plant(
        "hits divided by the K before",
        "metrics",
        "head.sum(axis=1) / k,",
        "head.sum(axis=1) / (k - 1),",
        lambda: ask(GOLDEN, k=3)["mHR@3"],
        2 / 3,
        2 / 2,
    ),
    Plant(
        "a hit only where all of the first K are right",
        "metrics",
        "_head(relevance, k).any(",
        "_head(relevance, k).all(",
        lambda: ask(GOLDEN, k=3)["hit@3"],
        1,
        0,
    ),
    Plant(
        "precision at the rank after",
        "metrics",
        "sums /= np.arange(1, relevance.shape[1] + 1)",
        "sums /= np.arange(2, relevance.shape[1] + 2)",
        lambda: ask(GOLDEN, k=3)["mAP@3"],
        (1 + 2 / 3) / 3,
        (1 / 2 + 2 / 4) / 3,
    ),
    Plant(
        "ranks of hits from 2",
        "metrics",
        "np.add(np.flatnonzero(row), 1",
        "np.add(np.flatnonzero(row), 2",
        lambda: ask([0, 1, 0])["MRR"],
        1 / 2,
        1 / 3,
    ),
    Plant(
        "R ends a rank early",
        "metrics",
        'side="right"',
        'side="left"',
        lambda: ask(GOLDEN)["R-precision"],
        2 / 3,
        1 / 3,
    ),
    Plant(
        "discounts from the second rank",
        "metrics",
        "np.arange(2, k + 2)",
        "np.arange(3, k + 3)",
        lambda: ask([0, 1], k=2)["nDCG@2"],
        (0.75 + 1 / math.log2(3)) / DCG_BEST,
        (0.75 / math.log2(3) + 1 / 2) / (1 / math.log2(3) + 0.75 / 2),
    ),
    Plant(
        "the best order starts at its second",
        "ranking",
        "(until[:, None, :] <= np.arange(",
        "(until[:, None, :] <= 1 + np.arange(",
        lambda: ask([1, 0], k=1)["nDCG@1"],
        1,
        1 / 0.75,
    ),
    Plant(
        "the same subject is ranked",
        "retrieval",
        "own | self.same.of_block(part), own",
        "own, own",
        lambda: family("subject"),
        0,
        4 / 5,
    ),
    Plant(
        "the same eye is ranked", "retrieval", SAME, "same[rows, columns] = False", lambda: family("eye"), 1 / 5, 4 / 5
    ),
    Plant(
        "an unknown eye counts as another",
        "retrieval",
        SAME,
        "same[rows, columns] = q == g",
        lambda: family("eye"),
        1 / 5,
        2 / 5,
    ),
    Plant(
        "the other eye is left out, the same is ranked",
        "retrieval",
        SAME,
        "same[rows, columns] = q != g",
        lambda: family("eye"),
        1 / 5,
        2 / 5,
    ),
    Plant(
        "the same visit is ranked",
        "retrieval",
        SAME,
        "same[rows, columns] = False",
        lambda: family("visit"),
        1 / 5,
        4 / 5,
    ),
    Plant(
        "an unknown visit counts as another",
        "retrieval",
        SAME,
        "same[rows, columns] = q == g",
        lambda: family("visit"),
        1 / 5,
        2 / 5,
    ),
    Plant(
        "the whole subject is left out where the visit alone should be",
        "retrieval",
        "if self._detail is not None:",
        "if False:",
        lambda: family("visit"),
        1 / 5,
        0,
    ),
    Plant("the query finds itself", "retrieval", "if self.settings.leave_one_out:", "if False:", alone, 0, 1),
    Plant(
        "AP divided by hits",
        "metrics",
        "return sums[:, -1] / k if",
        "return sums[:, -1] / np.maximum(_head(relevance, k).sum(axis=1), 1) if",
        lambda: ask(GOLDEN, k=5)["mAP@5"],
        (1 + 2 / 3 + 3 / 4) / 5,
        (1 + 2 / 3 + 3 / 4) / 3,
    ),
    Plant(
        "AP per hit divided by K",
        "metrics",
        "np.maximum(head.sum(axis=1), 1))",
        "k)",
        lambda: ask(GOLDEN, k=5)["mAP@5 per hit"],
        (1 + 2 / 3 + 3 / 4) / 3,
        (1 + 2 / 3 + 3 / 4) / 5,
    ),
    Plant(
        "AP@R divided by the hits, not by R",
        "metrics",
        "return _per_relevant(_precision_until(found, _end_of_r(found, relevant)), relevant)",
        "end = _end_of_r(found, relevant)\n"
        "    return _per_relevant(_precision_until(found, end), end - found.start[:-1])",
        lambda: ask(GOLDEN)["mAP@R"],
        (1 + 2 / 3) / 3,
        (1 + 2 / 3) / 2,
    ),
    # One of five images is the query's own: of the four ranked one is relevant, p = 1/4.
    Plant(
        "chance of N with what is left out",
        "retrieval",
        "out.shape[1] - out.sum(axis=1)",
        "np.full(len(out), out.shape[1])",
        lambda: own_chance("mHR@2"),
        1 / 4,
        1 / 5,
    ),
    Plant(
        "relevant images counted with what is left out",
        "retrieval",
        "> 0) & ~out",
        "> 0)",
        lambda: own_chance("R-precision"),
        1 / 4,
        2 / 4,
    ),
    # Two images, one relevant, K = 2: the two orders have AP@2 of 1/2 and (1/2)/2, mean 3/8.
    # If the hit stayed in the urn: (p/2) (H_2 + p (2 - H_2)) with p = 1/2, H_2 = 3/2.
    Plant(
        "chance of drawing with replacement",
        "chance",
        "second = (R - 1) / np.maximum(N - 1, 1)",
        "second = R / np.maximum(N, 1)",
        lambda: ask([1, 0], k=2, chance=True)["mAP@2"],
        3 / 8,
        (1 / 4) * (3 / 2 + 1 / 4),
    ),
    Plant(
        "chance at K of a shorter gallery",
        "chance",
        "R / np.maximum(N, 1) * np.minimum(k, N) / k",
        "R / np.maximum(N, 1)",
        lambda: ask([1, 0], k=4, chance=True)["mHR@4"],
        1 / 4,
        1 / 2,
    ),
    # Two of four right: of the six pairs one holds neither, so 5/6; of 1/2 twice, 1 - 1/4.
    Plant(
        "chance of any hit when drawing with replacement",
        "chance",
        "np.where(drawn, N - j, 1)",
        "np.where(drawn, N, 1)",
        lambda: ask([1, 0, 0, 1], k=2, chance=True)["hit@2"],
        5 / 6,
        3 / 4,
    ),
    Plant(
        "chance of AP over N ranks, not over K",
        "chance",
        "return _expected_precision_sum(R, N, np.minimum(k, N)) / k",
        "return _expected_precision_sum(R, N, N) / k",
        lambda: chance_levels.expected_average_precision_author([1], [2], 1)[0],
        1 / 2,
        3 / 4,
    ),
]


@pytest.mark.parametrize("bug", PLANTS, ids=lambda bug: bug.bug)
def test_a_planted_bug_is_caught_by_a_value_worked_by_hand(bug, monkeypatch):
    assert bug.measure() == pytest.approx(bug.right)
    plant(monkeypatch, bug.module, bug.old, bug.new)
    assert bug.measure() == pytest.approx(bug.wrong)
    assert bug.wrong != pytest.approx(bug.right)
    monkeypatch.undo()
    assert bug.measure() == pytest.approx(bug.right)


def test_nothing_is_ranked_that_should_not_be():
    assert [family(of) * 5 for of in ("subject", "eye", "visit", "none")] == [0, 1, 1, 4]


def test_a_plant_whose_line_is_not_there_is_an_error(monkeypatch):
    with pytest.raises(AssertionError, match=r"metrics\.py holds 0 of 'no such line'"):
        plant(monkeypatch, "metrics", "no such line", "")
