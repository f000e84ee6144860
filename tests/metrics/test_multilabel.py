"""A reader's figures: the official score by hand, every figure against scikit-learn."""

import numpy as np
import pytest

from foveola.metrics import probabilities
from foveola.metrics.drawing import save_reliability
from foveola.metrics.multilabel import BY_LABEL, ODIR, OVERALL, choose_thresholds, evaluate_reading, official_score

TRUTH = np.array([[c == "1" for c in row] for row in ("10000000", "01000001", "00100000", "01000100")])
SAID = np.array(
    [
        (0.9, 0.1, 0.2, 0.05, 0.1, 0.1, 0.05, 0.3),
        (0.2, 0.7, 0.1, 0.1, 0.1, 0.2, 0.1, 0.4),
        (0.3, 0.2, 0.6, 0.1, 0.1, 0.05, 0.1, 0.6),
        (0.1, 0.8, 0.1, 0.1, 0.2, 0.4, 0.1, 0.2),
    ]
)


def people(count=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random((count, 8)) < [0.3, 0.3, 0.06, 0.06, 0.05, 0.03, 0.05, 0.27]
    said = np.clip(0.25 * truth + 0.3 * rng.random((count, 8)) ** 0.7 + 0.1 * rng.random(), 0, 1)
    return truth, np.round(said, 2)  # ties


def test_the_official_score_of_four_patients():
    score = official_score(TRUTH, SAID)
    assert score["kappa"] == pytest.approx(0.671233, abs=5e-7)
    assert score["F1 (official)"] == 0.90625
    assert score["AUC"] == pytest.approx(0.983974, abs=5e-7)
    assert score["final"] == pytest.approx(0.853819, abs=5e-7)
    assert score["F1 (official)"] == ((SAID > 0.5) == TRUTH).mean()  # it is bit accuracy


def test_yes_is_strictly_above_one_half():
    assert official_score([[True]], [[0.5]])["F1 (official)"] == 0
    assert official_score([[False]], [[0.5]])["F1 (official)"] == 1


def test_every_figure_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = people()
    found = evaluate_reading(truth, said, bootstrap=0, thresholds=0.3)
    yes = said > 0.3
    for i, label in enumerate(ODIR):
        of = {name: rate.value for name, rate in found.by_label[label].items()}
        true, answers = truth[:, i], yes[:, i]
        assert of["AUC"] == pytest.approx(metrics.roc_auc_score(true, said[:, i]))
        assert of["AP"] == pytest.approx(metrics.average_precision_score(true, said[:, i]))
        assert of["kappa"] == pytest.approx(metrics.cohen_kappa_score(true, answers))
        assert of["F1"] == pytest.approx(metrics.f1_score(true, answers))
        assert of["sensitivity"] == pytest.approx(metrics.recall_score(true, answers))
        assert of["specificity"] == pytest.approx(metrics.recall_score(~true, ~answers))
        assert found.positive[label] == true.sum()
    overall = {name: rate.value for name, rate in found.overall.items()}
    flat = truth.ravel(), yes.ravel()
    assert overall["kappa"] == pytest.approx(metrics.cohen_kappa_score(*flat))
    assert overall["F1 (official)"] == pytest.approx(metrics.f1_score(*flat, average="micro"))
    assert overall["AUC"] == pytest.approx(metrics.roc_auc_score(flat[0], said.ravel()))
    assert overall["macro-AUC"] == pytest.approx(metrics.roc_auc_score(truth, said))
    assert overall["mAP"] == pytest.approx(metrics.average_precision_score(truth, said))
    assert overall["macro-F1"] == pytest.approx(metrics.f1_score(truth, yes, average="macro"))
    assert overall["exact match"] == pytest.approx(metrics.accuracy_score(truth, yes))


def test_a_weight_is_a_person_who_comes_as_often():
    truth, said = people(60)
    often = np.random.default_rng(1).integers(0, 4, 60)
    for name in ("auc", "average_precision", "calibration_error"):
        of = getattr(probabilities, name)
        weighed = of(said[:, 0], truth[:, 0], often[None].astype(float))
        repeated = of(*(np.repeat(x[:, 0], often) for x in (said, truth)), np.ones((1, often.sum())))
        assert weighed == pytest.approx(repeated), name
    for name in ("kappa", "f1", "accuracy", "sensitivity", "specificity"):
        of = getattr(probabilities, name)
        weighed = of(said[:, 0] > 0.3, truth[:, 0], often[None].astype(float))
        repeated = of(*(np.repeat(x, often) for x in (said[:, 0] > 0.3, truth[:, 0])), np.ones((1, often.sum())))
        assert weighed == pytest.approx(repeated), name


def test_calibration_error_by_hand():
    # Bins of 0.5: (.2, .4 | one of two true), (.9 | true): gaps |.6 - 1| and |.9 - 1| of 3.
    scores, truth = np.array([0.2, 0.4, 0.9]), np.array([True, False, True])
    assert probabilities.calibration_error(scores, truth, np.ones((1, 3)), bins=2) == pytest.approx(0.5 / 3)


def test_readers_that_look_at_nothing_stand_beside():
    truth, said = people()
    rate = truth.mean()
    base = evaluate_reading(truth, said, bootstrap=0).baselines
    assert base["all no"]["F1 (official)"] == pytest.approx(1 - rate)
    assert base["all no"]["kappa"] == 0
    assert base["all no"]["AUC"] == 0.5
    assert base["all no"]["final"] == pytest.approx((1.5 - rate) / 3)
    assert base["prevalence"]["AUC"] > 0.6  # knowing which labels are common
    assert base["all no"]["macro-F1"] == 0


def test_intervals_hold_the_value_and_are_of_people_not_rows():
    truth, said = people(150)
    once = evaluate_reading(truth, said, bootstrap=200)
    for name, rate in once.overall.items():
        assert rate.low <= rate.value <= rate.high or name == "ECE", name
    twice = evaluate_reading(
        np.repeat(truth, 2, axis=0), np.repeat(said, 2, axis=0), bootstrap=200, subjects=np.repeat(np.arange(150), 2)
    )
    for name in OVERALL:
        assert twice.overall[name].value == pytest.approx(once.overall[name].value)
        assert twice.overall[name].interval == pytest.approx(once.overall[name].interval)


def test_what_is_not_defined_is_nan_and_left_out_of_the_mean():
    truth, said = people(40)
    truth[:, 5] = False
    found = evaluate_reading(truth, said, bootstrap=0)
    assert np.isnan(found.by_label["H"]["AUC"].value)
    known = [found.by_label[label]["AUC"].value for label in ODIR if label != "H"]
    assert found.overall["macro-AUC"].value == pytest.approx(np.mean(known))
    assert found.to_dict()["by_label"]["H"]["AUC"]["value"] is None
    assert set(found.by_label["N"]) == set(BY_LABEL)


def test_thresholds_have_the_best_f1():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = people()
    chosen = choose_thresholds(truth, said)
    for i in range(8):
        best = max(metrics.f1_score(truth[:, i], said[:, i] > cut) for cut in np.unique(said[:, i]) - 1e-6)
        assert metrics.f1_score(truth[:, i], said[:, i] > chosen[i]) == pytest.approx(best)
    assert choose_thresholds(np.zeros((4, 1), bool), np.full((4, 1), 0.2)).tolist() == [0.5]


@pytest.mark.parametrize(
    ("truth", "said", "words"),
    [
        (TRUTH, SAID[:3], "one shape"),
        (TRUTH, SAID + 0.5, "from 0 to 1"),
        (TRUTH, np.where(SAID > 0.8, np.nan, SAID), "from 0 to 1"),
        (TRUTH[:, :3], SAID[:, :3], "8 names for 3 labels"),
        (TRUTH[:0], SAID[:0], "one shape"),
    ],
)
def test_what_does_not_fit_is_refused(truth, said, words):
    with pytest.raises(ValueError, match=words):
        evaluate_reading(truth, said, bootstrap=0)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="a threshold is not a number"):
        evaluate_reading(TRUTH, SAID, thresholds=None, bootstrap=0)


def test_reliability_by_hand():
    scores = np.array([0.1, 0.3, 0.9, 1.0])
    truth = np.array([False, True, True, True])
    low, high = probabilities.reliability(scores, truth, bins=2)
    assert low == (pytest.approx(0.2), 0.5, 2)
    assert high == (pytest.approx(0.95), 1.0, 2)
    assert len(probabilities.reliability(scores, truth, bins=10)) == 3  # 0.9 and 1.0 share the last


def test_the_reliability_plot_is_written(tmp_path):
    rng = np.random.default_rng(0)
    said = rng.random((200, 3))
    truth = rng.random((200, 3)) < said
    path = save_reliability(truth, {"before": said**2, "after": said}, tmp_path / "r.png")
    assert path.read_bytes().startswith(b"\x89PNG")
