import numpy as np
import pytest

from foveola.metrics.estimates import QueryMetrics, paired, pooled, summarise
from foveola.metrics.inputs import Settings, metric_names

SETTINGS = Settings((10,), "subject", False, 200, 0.95, 0)


def table(values, subjects, labels):
    members = np.array(labels)[:, None] == np.arange(2)
    columns = np.repeat(np.array(values, float)[:, None], len(metric_names(SETTINGS.ks)), 1)
    return QueryMetrics(columns, columns * 0, np.array(subjects), members, ("0", "1"))


def test_means_over_folds_by_hand():
    both = pooled([table([1, 0, 0], [0, 0, 1], [0, 0, 1]), table([0.5], [0], [1])])
    found = summarise(both, SETTINGS)["mAP@10"].value
    assert found.micro == pytest.approx(1.5 / 4)
    assert found.macro == pytest.approx((0.5 + 0.25) / 2)


def test_people_of_different_folds_are_different_people():
    one = table([1, 0], [0, 1], [0, 1])
    assert len(set(pooled([one, one, one]).subjects.tolist())) == 6


def test_folds_of_other_labels_are_refused():
    one = table([1], [0], [0])
    other = QueryMetrics(one.values, one.chance, one.subjects, one.members, ("0", "2"))
    with pytest.raises(ValueError, match="same label values"):
        pooled([one, other])
    with pytest.raises(ValueError, match="other queries"):
        paired(one, other)


def test_paired_is_the_difference_by_query():
    first, second = table([1, 0], [0, 1], [0, 1]), table([0.5, 0.5], [0, 1], [0, 1])
    assert paired(first, second).values[:, 0].tolist() == [-0.5, 0.5]
    with pytest.raises(ValueError, match="other queries"):
        paired(first, table([1, 0], [0, 0], [0, 1]))
