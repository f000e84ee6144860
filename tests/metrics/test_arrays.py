"""The evaluation of vectors with labels of any type, and the difference of two of them."""

import math
import sys

import numpy as np
import pandas as pd
import pytest

from foveola import FoveolaError, compare, evaluate
from foveola.errors import MissingExtraError
from foveola.metrics import RetrievalData, evaluate_retrieval


def at(*degrees):
    """Unit vectors at these angles."""
    angles = np.deg2rad(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


FOUR = at(0, 10, 50, 100)
WORDS = ["mild", "mild", "none", "mild"]
PEOPLE = ["x", "y", "z", "x"]


def test_four_vectors_with_words_as_labels_by_hand():
    # AP@2 = (1/2) sum over ranks 1, 2 of rel * precision; own group left out
    #   0 (x, mild): 10 mild, 50 none             1 0   -> 1/2
    #   10 (y, mild): 0 mild, 50 none             1 0   -> 1/2
    #   50 (z, none): nobody else has none              -> 0
    #   100 (x, mild): 50 none, 10 mild           0 1   -> 1/4
    result = evaluate(FOUR, WORDS, groups=PEOPLE, ks=(2,))
    assert result["mAP@2"].micro == pytest.approx((1 / 2 + 1 / 2 + 0 + 1 / 4) / 4)
    assert result["mAP@2"].per_label == pytest.approx({"mild": 5 / 12, "none": 0})
    assert result["mAP@2"].macro == pytest.approx((5 / 12 + 0) / 2)
    assert result.excluded_pairs == 2
    low, high = result["mAP@2"].micro_interval
    assert low <= result["mAP@2"].micro <= high


def test_without_groups_only_the_query_itself_is_left_out():
    # 0 now meets 100 as well, 100 meets 0; AP@3 = (1/3) sum of rel * precision
    #   0: mild none mild   (1 + 2/3) / 3      10: mild none mild   (1 + 2/3) / 3
    #   50: 0                                  100: none mild mild  (1/2 + 2/3) / 3
    result = evaluate(FOUR, WORDS, ks=(3,), bootstrap=0)
    expected = (5 / 9 + 5 / 9 + 0 + 7 / 18) / 4
    assert result["mAP@3"].micro == pytest.approx(expected)
    assert math.isnan(result["mAP@3"].macro_interval[0])


def test_a_gallery_is_ranked_in_place_of_the_queries():
    # 0 against 30 (b), 60 (a): rel 0 1 -> AP@2 = 1/4; and 0 as its own gallery image, of group x
    result = evaluate(at(0), ["a"], gallery=at(30, 60), gallery_labels=["b", "a"], ks=(2,))
    assert result["mAP@2"].micro == pytest.approx(1 / 4)
    apart = evaluate(at(0), ["a"], ["x"], at(0, 30, 60), ["a", "b", "a"], ["x", "y", "y"], ks=(2,))
    assert apart["mAP@2"].micro == pytest.approx(1 / 4)


def test_sets_of_findings_share_one_or_more():
    sets = [{"D", "G"}, {"G"}, ["C"], set()]
    result = evaluate(FOUR, sets, ks=(1,), bootstrap=0)
    assert result.label == "findings"
    assert result.unlabelled_queries == 1  # of the empty set
    # 0 finds 10, which shares G: G 1, D 1; 10 finds 0; 50 finds 10: C 0
    assert result["mHR@1"].per_label == {"C": 0, "D": 1, "G": 1}


SAME = {
    "numbers": [1, 1, 0, 1],
    "floats beside NaN": np.array([1.0, 1.0, 0.0, 1.0]),
    "text": ["1", "1", "0", "1"],
    "numpy integers": np.array([1, 1, 0, 1], np.uint8),
    "series": pd.Series([1, 1, 0, 1], index=[9, 8, 7, 6]),
    "categories": pd.Series(["1", "1", "0", "1"], dtype="category"),
    "sets of one": [{1}, {1}, {0}, {1}],
    "columns": np.array([[0, 1], [0, 1], [1, 0], [0, 1]]),
}


@pytest.mark.parametrize("form", SAME)
def test_labels_of_every_type_give_the_same_numbers(form):
    expected = evaluate_retrieval(RetrievalData(FOUR, np.array([1, 1, 0, 1]), PEOPLE, label="label"), ks=(1, 2))
    found = evaluate(FOUR, SAME[form], groups=PEOPLE, label="label", ks=(1, 2))
    assert found.to_dict() == expected.to_dict()


@pytest.mark.parametrize("unknown", [None, math.nan, np.float32("nan"), pd.NA, pd.NaT, ""])
def test_what_is_unknown_is_unlabelled_and_a_person_of_its_own(unknown):
    result = evaluate(FOUR, ["a", "a", unknown, "a"], [unknown, unknown, unknown, "x"], ks=(1,))
    assert result.unlabelled_queries == 1
    assert result.excluded_pairs == 0


def test_none_is_a_word_and_not_the_absence_of_one():
    assert evaluate(FOUR, WORDS, ks=(1,), bootstrap=0).unlabelled_queries == 0


def test_people_are_the_same_in_every_spelling():
    result = evaluate(at(0), ["a"], [7], at(0, 30), ["a", "a"], [" 7", 7.0], ks=(1,))
    assert result.excluded_pairs == 2


def test_grades_are_near_each_other_where_they_are_called_so():
    plain = evaluate(FOUR, [2, 3, 0, 4], ks=(1,), bootstrap=0)["nDCG@1"].micro
    graded = evaluate(FOUR, [2, 3, 0, 4], label="grade", ks=(1,), bootstrap=0)["nDCG@1"].micro
    assert math.isnan(plain)  # nobody shares a label
    assert graded == pytest.approx(np.mean([1, 1, (1 - 3 / 4) / (1 - 2 / 4), 0 / 0.75]))


FAULTS = {
    "too few labels": (lambda: evaluate(FOUR, [1, 2]), r"got \(4, 2\) and 2"),
    "too few groups": (lambda: evaluate(FOUR, WORDS, ["x"]), "expected 4 groups"),
    "a text": (lambda: evaluate(FOUR, "abcd"), "labels are one text, 'abcd'"),
    "odd columns": (lambda: evaluate(FOUR, np.full((4, 2), 7)), r"or \(N, K\) of True and False"),
    "several grades": (lambda: evaluate(FOUR, [{1, 2}] * 4, label="grade"), "only 'findings'"),
    "no gallery": (lambda: evaluate(FOUR, WORDS, gallery_labels=[1]), "together, or neither"),
    "no labels": (lambda: evaluate(FOUR, WORDS, gallery=FOUR), "together, or neither"),
    "groups of no gallery": (lambda: evaluate(FOUR, WORDS, gallery_groups=PEOPLE), "need a gall"),
    "groups of one side": (lambda: evaluate(FOUR, WORDS, PEOPLE, FOUR, WORDS), "only one side has groups"),
    "zeros": (lambda: evaluate(np.zeros((4, 2)), WORDS), "4 descriptors are all zero"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_told(name):
    call, words = FAULTS[name]
    with pytest.raises(ValueError, match=words):
        call()


def test_nothing_labelled_is_told():
    with pytest.raises(FoveolaError, match="none of the 4 images has a label as query"):
        evaluate(FOUR, [None] * 4)


# How a result is shown


def test_a_result_is_shown_as_text_html_markdown_and_frame():
    result = evaluate(FOUR, ["<b>", "<b>", "a", "<b>"], groups=PEOPLE, ks=(2,))
    assert "4 queries against 4 images" in repr(result)
    assert "mAP@2" in repr(result)
    assert "<b>" not in result._repr_html_().replace("&lt;b&gt;", "")
    assert "&lt;b&gt;" in result._repr_html_()
    assert "| mAP@2 |" in result.to_markdown()
    frame = result.to_frame()
    assert frame.loc["mAP@2", "macro"] == result["mAP@2"].macro
    assert tuple(frame.loc["mAP@2", ["micro_low", "micro_high"]]) == result["mAP@2"].micro_interval
    assert frame.loc["mAP@2", "macro_chance"] == result["mAP@2"].chance.macro
    assert repr(result["mAP@2"]).startswith("macro 0.208 (0.000 to 0.500), micro 0.312 (")


def test_a_metric_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(KeyError, match=r"no metric 'mAP@7'; expected one of mHR@2, .*MRR"):
        evaluate(FOUR, WORDS, ks=(2,), bootstrap=0)["mAP@7"]


def test_a_frame_asks_for_pandas_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"^to_frame needs pandas"):
        evaluate(FOUR, WORDS, ks=(2,), bootstrap=0).to_frame()


@pytest.mark.parametrize("kind", ["precision", "retrieved", "subjects"])
def test_a_result_draws_its_figures(kind, tmp_path):
    pytest.importorskip("matplotlib")
    evaluate(FOUR, WORDS, groups=PEOPLE, ks=(1, 2)).plot(kind).savefig(tmp_path / "a.png")
    with pytest.raises(ValueError, match="kind is 'pie'; expected one of precision, retrieved"):
        evaluate(FOUR, WORDS, ks=(1, 2)).plot("pie")


# Differences


def slow_ap(vectors, labels, groups, k):
    """AP@k of every query, by sorting in Python."""
    found = []
    for i, query in enumerate(vectors):
        others = [j for j in range(len(vectors)) if groups[j] != groups[i]]
        others.sort(key=lambda j: -float(vectors[j] @ query))
        hits, total = 0, 0.0
        for rank, j in enumerate(others[:k], start=1):
            if labels[j] == labels[i]:
                hits += 1
                total += hits / rank
        found.append(total / k)
    return np.array(found)


def slow_macro(values, labels, rows):
    rows = list(rows)
    each = [
        np.mean([values[i] for i in rows if labels[i] == name])
        for name in sorted(set(labels))
        if any(labels[i] == name for i in rows)
    ]
    return np.mean(each)


def test_compare_agrees_with_a_slow_loop():
    rng = np.random.default_rng(4)
    labels = [str(x) for x in rng.integers(3, size=30)]
    groups = [f"p{i // 2}" for i in range(30)]
    one = rng.normal(size=(30, 5))
    two = one + np.eye(3, 5)[[int(x) for x in labels]]
    one, two = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, two))
    found = compare(*(evaluate(x, labels, groups, ks=(3,), bootstrap=60) for x in (one, two)))

    gain = slow_ap(two, labels, groups, 3) - slow_ap(one, labels, groups, 3)
    assert found["mAP@3"].micro == pytest.approx(gain.mean())
    assert found["mAP@3"].macro == pytest.approx(slow_macro(gain, labels, range(30)))
    draws = np.random.default_rng(0).integers(15, size=(60, 15))
    means = [slow_macro(gain, labels, [2 * s + side for s in drawn for side in (0, 1)]) for drawn in draws]
    assert found["mAP@3"].macro_interval == pytest.approx(np.percentile(means, [2.5, 97.5]))


def test_a_difference_is_shown_and_becomes_a_frame():
    found = compare(*(evaluate(x, WORDS, PEOPLE, ks=(2,)) for x in (FOUR, FOUR[::-1])))
    assert "second - first" in repr(found)
    assert "second - first" in found._repr_html_()
    assert list(found.to_frame()) == ["macro", "macro_low", "macro_high", "micro", "micro_low", "micro_high"]
    with pytest.raises(KeyError, match="no metric 'x'; expected one of mHR@2"):
        found["x"]
