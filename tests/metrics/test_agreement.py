"""The same numbers as scikit-learn, torchmetrics and pytorch-metric-learning, query by query.

Only where the definitions are the same. Ours keeps equal cosines in gallery order; scikit-learn
averages over ties and the others leave them to their sort. Where cosines tie, the other library
is therefore handed the places of that order in the place of cosines.
"""

import functools

import numpy as np
import pytest

from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.metrics.inputs import metric_names

KS = (1, 5, 10, 70)  # the last is deeper than any gallery here
SEEDS = range(12)


def random_side(generator, images, *, ties, findings=False):
    """Grades as rare as in life, or sets of findings; descriptors on few directions when tied."""
    rows = generator.normal(size=(images, 4)).astype(np.float32)
    if ties:
        rows = generator.choice([-2, -1, 1], size=(images, 2)).astype(np.float32)
    labels = generator.choice(5, size=images, p=[0.6, 0.1, 0.2, 0.06, 0.04])
    if findings:
        labels = generator.random((images, 5)) < [0.5, 0.3, 0.1, 0.05, 0.02]
    word = "findings" if findings else "grade"
    return RetrievalData(rows, labels, list(range(images)), ("0", "1", "2", "3", "4"), word)


def cosines(queries, gallery):
    """(Q, N), one pair at a time."""
    rows = [[float(x) for x in row] for row in gallery.descriptors]
    asked = [[float(x) for x in row] for row in queries.descriptors]
    length = [sum(x * x for x in row) ** 0.5 for row in rows]
    return np.array(
        [
            [
                sum(a * b for a, b in zip(q, row, strict=True)) / (sum(a * a for a in q) ** 0.5 * n)
                for row, n in zip(rows, length, strict=True)
            ]
            for q in asked
        ]
    )


def in_gallery_order(similarity):
    """(Q, N): N for the best, 1 for the last; what ties to nine digits keeps its order."""
    places = np.empty(similarity.shape)
    for row, of_row in zip(places, similarity, strict=True):
        order = sorted(range(len(of_row)), key=lambda i: -round(of_row[i], 9))
        row[order] = np.arange(len(of_row), 0, -1)
    return places


@functools.cache
def case(seed, ties, findings):
    """Ours as a dictionary of (Q,), then cosines, relevance and graded gains, all (Q, N)."""
    generator = np.random.default_rng(seed)
    queries, gallery = (
        random_side(generator, int(generator.integers(*span)), ties=ties, findings=findings)
        for span in ((8, 20), (2, 60))
    )
    queries, gallery = queries.labelled(), gallery.labelled()
    found = evaluate_retrieval(queries, gallery, ks=KS, exclude="none", bootstrap=0).per_query.values
    a, b = queries.labels, gallery.labels
    relevant = (a[:, None] & b).any(axis=2)
    gains = (a[:, None] & b).sum(axis=2) / (a[:, None] | b).sum(axis=2)
    if not findings:
        gains = 1 - abs(a.argmax(axis=1)[:, None] - b.argmax(axis=1)) / 4
    ours = dict(zip(metric_names(KS), found.T, strict=True))
    return ours, cosines(queries, gallery), relevant, gains


inputs = pytest.mark.parametrize(
    ("seed", "ties", "findings"), [(seed, seed % 3 == 0, seed % 2 == 1) for seed in SEEDS], ids=lambda value: str(value)
)


@pytest.mark.parametrize("ties", [False, True])
def test_the_random_inputs_are_hard(ties):
    drawn = [case(seed, ties, seed % 2 == 1) for seed in SEEDS]
    assert sum((similarity < 0).mean() for _, similarity, _, _ in drawn) / len(SEEDS) > 0.2
    tied = [len(np.unique(similarity[0].round(9))) < similarity.shape[1] for _, similarity, *_ in drawn]
    assert np.mean(tied) == pytest.approx(float(ties), abs=0.25)
    assert any((~relevant.any(axis=1)).any() for _, _, relevant, _ in drawn)


@inputs
def test_average_precision_and_ndcg_are_those_of_scikit_learn(seed, ties, findings):
    sklearn = pytest.importorskip("sklearn.metrics")
    ours, similarity, relevant, gains = case(seed, ties, findings)
    scores = in_gallery_order(similarity) if ties else similarity
    for q, row in enumerate(relevant):
        if row.any():
            theirs = sklearn.average_precision_score(row, scores[q])
            assert ours["mAP"][q] == pytest.approx(theirs)
        else:
            assert np.isnan(ours["mAP"][q])  # where scikit-learn warns and says 0
        for k in KS if relevant.shape[1] > 1 and gains[q].any() else ():
            theirs = sklearn.ndcg_score(gains[q][None], scores[q][None], k=k)
            assert ours[f"nDCG@{k}"][q] == pytest.approx(theirs)


@inputs
def test_seven_metrics_are_those_of_torchmetrics(seed, ties, findings):
    theirs = pytest.importorskip("torchmetrics.functional.retrieval")
    torch = pytest.importorskip("torch")
    ours, similarity, relevant, gains = case(seed, ties, findings)
    # Places, not cosines: torchmetrics rounds to float32 and drops what is not above 0.
    places = torch.tensor(in_gallery_order(similarity))
    right, graded = torch.tensor(relevant), torch.tensor(gains)
    for q in range(len(relevant)):
        pair = places[q], right[q]
        expected = {}
        for k in KS:
            expected[f"mHR@{k}"] = theirs.retrieval_precision(*pair, top_k=k)
            expected[f"hit@{k}"] = theirs.retrieval_hit_rate(*pair, top_k=k)
            expected[f"mAP@{k} per hit"] = theirs.retrieval_average_precision(*pair, top_k=k)
            if gains[q].any():
                ndcg = theirs.retrieval_normalized_dcg(places[q], graded[q], top_k=k)
                expected[f"nDCG@{k}"] = ndcg
        if relevant[q].any():  # else ours is NaN and theirs 0
            expected["mAP"] = theirs.retrieval_average_precision(*pair)
            expected["R-precision"] = theirs.retrieval_r_precision(*pair)
            expected["MRR"] = theirs.retrieval_reciprocal_rank(*pair)
        for name, value in expected.items():
            assert ours[name][q] == pytest.approx(value.item(), rel=1e-5), name


def test_negative_similarities_count_as_with_any_other():
    # Both relevant images come first, with cosines below 0: P@2, AP and RR are 1. torchmetrics
    # takes what is not above 0 for irrelevant and says 0, unless all scores are lifted above 0.
    # Should the first assertion on theirs fail one day, they have mended it.
    theirs = pytest.importorskip("torchmetrics.functional.retrieval")
    torch = pytest.importorskip("torch")
    angles = np.radians([100, 110, 120, 150])
    gallery = RetrievalData(np.column_stack([np.cos(angles), np.sin(angles)]), np.array([1, 1, 0, 0]), "abcd")
    query = RetrievalData(np.float32([[1, 0]]), np.array([1]), "q")
    ours = evaluate_retrieval(query, gallery, ks=(2,), bootstrap=0).metrics
    cosine, right = torch.tensor(np.cos(angles)), torch.tensor([True, True, False, False])
    for name, metric in (
        ("mHR@2", functools.partial(theirs.retrieval_precision, top_k=2)),
        ("mAP", theirs.retrieval_average_precision),
        ("MRR", theirs.retrieval_reciprocal_rank),
    ):
        assert metric(cosine, right) == 0
        assert metric(cosine + 1, right) == 1
        assert ours[name].value.micro == 1


def neighbours(query, k, reference, ref_includes_query):
    """What pytorch-metric-learning asks of a search: distances and places of the k nearest."""
    torch = pytest.importorskip("torch")
    rows = [row.double().numpy() for row in reference]
    found = []
    for q, one in enumerate(query.double().numpy()):
        cosine = [one @ row / (np.linalg.norm(one) * np.linalg.norm(row)) for row in rows]
        others = [i for i in range(len(rows)) if not (ref_includes_query and i == q)]
        found.append(sorted(others, key=lambda i, of=cosine: -round(of[i], 9))[:k])
    return None, torch.tensor(found)


def calculator(**options):
    accuracy = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    torch = pytest.importorskip("torch")
    return accuracy.AccuracyCalculator(
        include=tuple(PML), device=torch.device("cpu"), knn_func=neighbours, kmeans_func=lambda *_: None, **options
    )


PML = {
    "mean_average_precision_at_r": "mAP@R",
    "mean_average_precision": "mAP",
    "r_precision": "R-precision",
    "mean_reciprocal_rank": "MRR",
    "precision_at_1": "mHR@1",
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("two_sided", [False, True])
def test_five_metrics_are_those_of_pytorch_metric_learning(seed, ties, two_sided):
    generator = np.random.default_rng(100 + seed)
    side, gallery = (random_side(generator, n, ties=ties) for n in (40, 55))
    got = evaluate_retrieval(side, gallery if two_sided else None, ks=(1,), exclude="none", bootstrap=0)
    sides = [side, gallery] if two_sided else [side]
    arguments = [array for s in sides for array in (s.descriptors.copy(), s.labels.argmax(axis=1).copy())]
    means = calculator().get_accuracy(*arguments)
    by_class = calculator(return_per_class=True).get_accuracy(*arguments)
    # Theirs leaves out a query without relevant images in every metric, ours not in mHR@1.
    if got.queries_without_relevant:
        means.pop("precision_at_1")
    for name, theirs in means.items():
        ours = got.metrics[PML[name]].value
        assert ours.micro == pytest.approx(theirs, rel=1e-5), name
        assert list(ours.per_label.values()) == pytest.approx(by_class[name], rel=1e-5), name
        assert ours.macro == pytest.approx(np.mean(by_class[name]), rel=1e-5), name
