import itertools
import re

import numpy as np
import pytest

from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.report import evaluation_page
from foveola.report.chart import HEIGHT, WIDTH, chart


def heights(drawn, bar):
    """Value, chance and interval of a bar, read back from the drawing."""
    (bottom, _), (top, highest) = drawn.ticks[0], drawn.ticks[-1]
    ends = (bar.top, bar.chance, bar.low, bar.high)
    return [None if y is None else (bottom - y) / (bottom - top) * float(highest) for y in ends]


@pytest.mark.parametrize("metric", ["mHR@5", "mAP@10", "mAP@R"])
def test_bars_stand_where_the_numbers_are(evaluation, metric):
    drawn, found = chart(evaluation, metric), evaluation.metrics[metric]
    assert [bar.name for bar in drawn.bars] == list(found.queries)
    for bar in drawn.bars:
        value, chance, low, high = heights(drawn, bar)
        assert value == pytest.approx(found.value.per_label[bar.name], abs=1e-4)
        assert chance == pytest.approx(found.chance.per_label[bar.name], abs=1e-4)
        if bar.name == "4":  # one person's images: there is no interval
            assert low is high is None
        else:
            assert (low, high) == pytest.approx(found.interval(bar.name), abs=1e-4)
        assert bar.top + bar.height == pytest.approx(drawn.floor)
        assert 0 < bar.x < bar.x + bar.width < WIDTH
        assert 0 < bar.top <= HEIGHT


def test_bars_do_not_overlap(evaluation):
    bars = chart(evaluation).bars
    assert all(a.x + a.width < b.x for a, b in itertools.pairwise(bars))


def test_grades_are_named_and_counted(evaluation):
    bars = chart(evaluation).bars
    assert [(b.word, b.queries) for b in bars] == [("no DR", 29), ("mild NPDR", 29), ("PDR", 2)]


def test_the_headline_is_map_at_10_or_the_deepest(evaluation):
    assert chart(evaluation).metric == "mAP@10"
    side = RetrievalData(np.eye(4), np.array([0, 0, 1, 1]), "abcd")
    assert chart(evaluate_retrieval(side, ks=(3, 2), bootstrap=0)).metric == "mAP@3"


def test_small_values_get_a_larger_scale(evaluation):
    side = RetrievalData(np.random.default_rng(0).normal(size=(90, 3)), np.arange(90) % 30, list(range(90)))
    low = evaluate_retrieval(side, bootstrap=10)
    drawn = chart(low)
    assert float(drawn.ticks[-1][1]) < 1
    for bar in drawn.bars:
        assert heights(drawn, bar)[0] == pytest.approx(low.metrics["mAP@10"].value.per_label[bar.name], abs=1e-4)
    assert chart(evaluation, "mHR@5").ticks[-1][1] == "1"


def test_an_unknown_metric_is_refused(evaluation):
    with pytest.raises(ValueError, match="no metric 'mAP@3'; there are mHR@1"):
        chart(evaluation, "mAP@3")


def test_the_drawing_is_in_the_page_without_a_gap(evaluation):
    text = evaluation_page(evaluation)
    assert len(re.findall('<rect class="value"', text)) == 3
    assert len(re.findall('<line class="chance"', text)) == 3
    assert len(re.findall('class="whisker"', text)) == 2
    assert "None" not in text
    assert "nan" not in text


@pytest.mark.parametrize("labels", [9, 10, 27])
def test_many_names_are_slanted_and_stay_in_the_drawing(labels):
    many = np.random.default_rng(0).normal(size=(4 * labels, 3))
    names = tuple(f"{i:02d} a finding with a long name" for i in range(labels))
    side = RetrievalData(many, np.arange(4 * labels) % labels, list(range(4 * labels)), label_names=names)
    found = evaluate_retrieval(side, bootstrap=0)
    drawn, text = chart(found), evaluation_page(found)
    slanted = re.findall(r'translate\(([\d.]+) ([\d.]+)\) rotate\(-50\)"><title>([^<]*)', text)
    assert [name for *_, name in slanted] == (list(names) if labels > 9 else [])
    assert all(len(bar.short) == 18 for bar in drawn.bars)
    # 18 letters of 12 px, half as wide as high, at 50 degrees
    lowest = max((float(y) + 18 * 6 * np.sin(np.radians(50)) for _, y, _ in slanted), default=0)
    assert lowest <= drawn.height
    assert drawn.height == (HEIGHT if labels == 9 else HEIGHT + 60)
    assert f'viewBox="0 0 {WIDTH} {drawn.height}"' in text
