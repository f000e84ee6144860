"""Two encoders on the same queries."""

import dataclasses

import numpy as np
import pytest

from foveola.metrics import RetrievalData, compare, evaluate_retrieval


@pytest.fixture(scope="module")
def pair():
    """The same 300 photographs of 100 people by a poor encoder and a better one."""
    generator = np.random.default_rng(0)
    grades = generator.integers(3, size=300)
    people = (np.arange(300) // 3).tolist()
    noise = generator.normal(size=(300, 8)).astype(np.float32)
    signal = np.eye(3, 8, dtype=np.float32)[grades]
    poor, better = (
        evaluate_retrieval(RetrievalData(noise + part * signal, grades, people, label="grade"), ks=(5,))
        for part in (0.8, 1.2)
    )
    return poor, better


def test_differences_are_those_of_the_values(pair):
    poor, better = pair
    got = compare(poor, better)
    assert got.queries == 300
    for name, metric in got.metrics.items():
        for mean in ("micro", "macro"):
            expected = getattr(better.metrics[name].value, mean)
            expected -= getattr(poor.metrics[name].value, mean)
            assert getattr(metric.value, mean) == pytest.approx(expected)
            assert getattr(metric.low, mean) <= expected <= getattr(metric.high, mean)
        assert metric.chance.micro == 0
    assert got.metrics["mAP"].low.macro > 0


def test_the_paired_interval_is_narrower_than_that_of_either(pair):
    poor, better = pair
    low, high = compare(poor, better).metrics["mAP@5"].interval()
    for one in pair:
        alone = one.metrics["mAP@5"].interval()
        assert high - low < alone[1] - alone[0]
    swapped = compare(better, poor).metrics["mAP@5"].interval()
    assert swapped == pytest.approx((-high, -low))


def test_an_encoder_is_no_better_than_itself(pair):
    got = compare(pair[0], pair[0])
    for metric in got.metrics.values():
        assert (metric.value.micro, *metric.interval(), metric.value.macro) == (0, 0, 0, 0)
    line = next(row for row in got.to_text().splitlines() if row.startswith("MRR"))
    assert line.split("  ")[-1].strip() == "+0.000 to +0.000"
    assert "| MRR | +0.000 |" in got.to_markdown()
    assert set(got.to_dict()["metrics"]["MRR"]["interval"]) == {"micro", "macro", "per_grade"}


def test_other_queries_or_settings_are_refused(pair):
    one = pair[0]
    with pytest.raises(ValueError, match="other settings or labels"):
        compare(one, dataclasses.replace(one, label="findings"))
    turned = dataclasses.replace(one.per_query, subjects=one.per_query.subjects[::-1])
    with pytest.raises(ValueError, match="asked other queries"):
        compare(one, dataclasses.replace(one, per_query=turned))
