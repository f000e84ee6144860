"""Who asks and who is ranked, by hand; ensembles against the AdaTriplet paper's words in numpy."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from foveola.errors import FoveolaError
from foveola.matching import Protocol, evaluate_matching
from foveola.matching.evaluation import SAME, ensemble, part, published_table
from foveola.records import Case


def case(image, subject="a", eye="left", visit=None, **extra):
    return Case(image=image, path=f"/{image}", subject=subject, eye=eye, visit=visit, extra=extra)


def test_first_visits_are_ranked_and_later_ones_ask():
    cases = [
        case("0", visit=12.0),
        case("1", visit=0.0),
        case("2", visit=0.0),  # a second photograph of the first visit is ranked too
        case("3", visit=96.0),
        case("4", eye="right", visit=12.0),  # the first of its own eye
        case("5", subject="b", visit=30.0),  # nobody's follow-up
        case("6", subject=None),
    ]
    got = part(cases, Protocol())
    assert got.queries == (0, 3)
    assert got.gallery == (1, 2, 4, 5, 6)
    assert got.groups == ("1 y", "8 y")


def test_a_subject_has_both_eyes_where_it_is_the_identity():
    cases = [case("0", visit=0.0), case("1", eye="right", visit=24.0), case("2", eye=None, visit=36.0)]
    got = part(cases, Protocol(identity="subject"))
    assert (got.queries, got.gallery, got.groups) == ((1, 2), (0,), ("2 y", "3 y"))
    with pytest.raises(FoveolaError, match="none of the 3 photographs was taken after"):
        part(cases, Protocol())  # an unknown eye is nobody's follow-up


def test_repeats_without_a_time_ask_and_are_named_so():
    got = part([case("0"), case("1"), case("2", visit=5.0)], Protocol())
    assert got.gallery == (2,)  # the one whose time is known is the first
    assert got.queries == (0, 1)
    assert got.groups == (SAME, SAME)


def test_dates_and_days_of_a_column():
    cases = [case(str(i), visit=day) for i, day in enumerate(["2020-03-01", "2020-03-06", "2021-03-01"])]
    got = part(cases, Protocol(unit="days", edges=(7, 30)))
    assert got.groups == ("0 to 7 d", "over 30 d")
    offsets = [case(str(i), offset=day) for i, day in enumerate([-22, -30, -2])]
    got = part(offsets, Protocol(time="offset", unit="days", edges=(7, 30)))
    assert (got.gallery, got.queries) == ((1,), (0, 2))
    assert got.groups == ("7 to 30 d", "7 to 30 d")


@pytest.mark.parametrize(
    ("unit", "edges", "gap", "group"),
    [
        ("days", (7, 30), 6, "0 to 7 d"),
        ("days", (7, 30), 7, "0 to 7 d"),  # an edge is of the part below
        ("days", (7, 30), 8, "7 to 30 d"),
        ("days", (7, 30), 30, "7 to 30 d"),
        ("days", (7, 30), 31, "over 30 d"),
        ("months", (12,), 12, "0 to 12 m"),
        ("years", (1, 2), 2, "1 to 2 y"),
        ("months", (), 5, "0 y"),  # whole years are the nearest, not those that are over
        ("months", (), 7, "1 y"),
        ("months", (), 17, "1 y"),
        ("months", (), 20, "2 y"),
        ("days", (), 700, "2 y"),
    ],
)
def test_a_gap_lies_in_the_part_that_is_told(unit, edges, gap, group):
    cases = [case("0", visit=0.0), case("1", visit=float(gap))]
    assert part(cases, Protocol(unit=unit, edges=edges)).groups == (group,)


@pytest.mark.parametrize("value", ["soon", "2020-13-01", float("nan")])
def test_a_time_that_is_none_is_refused(value):
    with pytest.raises(FoveolaError, match=r"1: the column 'when' is no time; expected a number of"):
        part([case("0", when=0), case("1", when=value)], Protocol(time="when"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"identity": "person"}, "identity is 'person'"),
        ({"gallery": "last"}, "gallery is 'last'"),
        ({"unit": "weeks"}, "unit is 'weeks'"),
        ({"edges": (30, 7)}, "expected rising times"),
        ({"edges": (0, 7)}, "expected rising times"),
    ],
)
def test_senseless_protocols_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Protocol(**settings)


def followed(count=40, noise=0.3, seed=0, sizes=(0, 12, 96)):
    """Cases of eyes at some visits and descriptors that drift with time."""
    rng = np.random.default_rng(seed)
    cases, rows = [], []
    for n in range(count):
        start, drift = rng.normal(size=(2, 12))
        for months in sizes:
            cases.append(case(f"{n}-{months}", subject=f"s{n}", visit=float(months)))
            rows.append(start + drift * months / 60 + noise * rng.normal(size=12))
    return np.array(rows, np.float32), cases


def test_time_makes_it_harder():
    rows, cases = followed()
    got = evaluate_matching(rows, cases, bootstrap=50)
    by_time = got.found.metrics["mAP"].value.per_label
    assert by_time["1 y"] > 0.95 > by_time["8 y"] > 0.2
    said = json.loads(json.dumps(got.to_dict()))
    assert said["metrics"]["rank-1"]["by_time"]["1 y"] == pytest.approx(
        got.found.metrics["rank-1"].value.per_label["1 y"]
    )
    assert said["queries"] == 80
    assert said["rejection"][0]["fpir"]["interval"][0] >= 0


def test_tables_name_all_that_was_measured():
    rows, cases = followed()
    text = evaluate_matching(rows, cases, bootstrap=20).to_text()
    first = text.splitlines()[0]
    assert first == "80 queries against 40 images by eye, the first visit of each."
    for word in ("rank-1", "CMC@1", "1 y", "8 y", "EER", "FNMR at FMR 0.01", "FPIR wanted"):
        assert word in text
    markdown = evaluate_matching(rows, cases, Protocol(gallery="others"), bootstrap=0).to_markdown()
    assert "each against all others" in markdown
    assert "| AUC |" in markdown


def test_a_table_of_similarities_takes_the_place_of_cosines():
    rows, cases = followed(count=5)
    own = np.array([[a.subject == b.subject for b in cases] for a in cases], np.float32)
    got = evaluate_matching(rows, cases, similarity=own, bootstrap=0)
    assert got.found.metrics["rank-1"].value.micro == 1
    wrong = evaluate_matching(rows, cases, similarity=-own, bootstrap=0)
    assert wrong.found.metrics["rank-1"].value.micro == 0


def test_the_published_table_by_hand():
    # Two seeds: mAP of .5 and 1, mean 75, standard error .25 sqrt 2 / sqrt 2 = 25
    cases = [case("0", visit=0.0), case("1", subject="b", visit=0.0), case("2", visit=12.0)]
    good = np.array([[1, 0], [0, 1], [1, 0.1]], np.float32)
    bad = np.array([[1, 0], [0, 1], [0.1, 1]], np.float32)
    runs = [evaluate_matching(rows, cases, bootstrap=0) for rows in (good, bad)]
    table = published_table({"Triplet": runs, "One": runs[:1]}, metrics=("mAP",))
    assert table == [
        ["metric", "loss", "1 y", "all"],
        ["mAP", "Triplet", "75.0 ± 25.0", "75.0 ± 25.0"],
        ["mAP", "One", "100.0", "100.0"],
    ]
    with pytest.raises(ValueError, match="metric is 'AP'"):
        published_table({"x": runs}, metrics=("AP",))


RNG = np.random.default_rng(0)
MODELS = [RNG.normal(size=(12, 6)).astype(np.float32) for _ in range(3)]
UNITS = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in MODELS]


def order(similarity):
    return np.argsort(-similarity, axis=1, kind="stable")


def test_distances_are_averaged():
    mean = np.mean([cdist(u, u, "sqeuclidean") for u in UNITS], axis=0)
    assert ensemble(MODELS) == pytest.approx(1 - mean / 2, abs=1e-6)
    assert (order(ensemble(MODELS)) == order(-mean)).all()


def test_features_are_averaged_without_a_new_length():
    mean = np.mean(UNITS, axis=0)
    distance = cdist(mean, mean)
    got = ensemble(MODELS, "features")
    assert got == pytest.approx(1 - distance**2 / 2, abs=1e-6)
    assert (order(got)[:, 1:] == order(-distance)[:, 1:]).all()
    assert (order(got) != order(ensemble(MODELS))).any()  # the two ways differ


def test_one_model_is_itself_either_way():
    assert ensemble(MODELS[:1]) == pytest.approx(ensemble(MODELS[:1], "features"), abs=1e-6)


@pytest.mark.parametrize(
    ("models", "how", "sentence"),
    [
        ([], "distances", "models of the same images"),
        ([MODELS[0], MODELS[1][:5]], "distances", "models of the same images"),
        ([MODELS[0], np.ones((12, 2), np.float32)], "features", "models of the same images"),
        ([np.zeros((3, 2), np.float32)], "distances", "without a row of zeros"),
        (MODELS, "votes", "how is 'votes'"),
    ],
)
def test_models_that_do_not_fit_are_refused(models, how, sentence):
    with pytest.raises(ValueError, match=sentence):
        ensemble(models, how)
