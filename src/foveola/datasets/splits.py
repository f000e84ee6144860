"""Splits and folds by subject: no person is ever on both sides.

A unit is what must stay together: a known subject with all its images; where the subject is
unknown, a group, if there is a column `group`; else the single image.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from foveola.datasets.manifest import Manifest
from foveola.records import known_identifier

Unit = tuple[str, str]


def split_by_subject(
    data: Manifest | pd.DataFrame, fractions: Mapping[str, float], *, seed: int = 0, stratify: str = "grade"
) -> "pd.Series[str]":
    """Assign every image to a split, whole subjects at a time.

    Subjects are taken stratum by stratum. A stratum is the worst grade of a subject (or, for a
    column of text, all its values together), "unlabelled" included. Each stratum is put in an
    order that only the seed and the subjects' names decide, and cut so that every split is
    within one subject of its share of the stratum. What rounding left a split short of in one
    stratum it gets in the next, so it is close overall too. The order of the rows plays no part.

    Args:
        data: a manifest, or its table.
        fractions: name of a split to its share, each above 0, with sum 1.
        seed: another seed gives another split.
        stratify: a column; one that is absent makes a single stratum.

    Returns:
        One name a row, with the index of the table.

    Raises:
        ValueError: the fractions are not what they should be.
    """
    if not fractions or any(not share > 0 for share in fractions.values()):
        raise ValueError(f"fractions are above 0, got {dict(fractions)}")
    if not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise ValueError(f"fractions have sum 1, got {sum(fractions.values())}")
    table = data.table if isinstance(data, Manifest) else data
    units = _units(table)
    names = list(fractions)
    dealt = _deal(_strata(table, units, stratify), list(fractions.values()), seed)
    return pd.Series([names[dealt[unit]] for unit in units], index=table.index, dtype=object)


def folds_by_subject(
    data: Manifest | pd.DataFrame, k: int, *, seed: int = 0, stratify: str = "grade"
) -> "pd.Series[int]":
    """Number every image with one of k folds, 0 to k - 1, whole subjects at a time.

    See split_by_subject; the folds are k equal splits.

    Raises:
        ValueError: k is below 2.
    """
    if k < 2:
        raise ValueError(f"k is 2 or more, got {k}")
    table = data.table if isinstance(data, Manifest) else data
    units = _units(table)
    dealt = _deal(_strata(table, units, stratify), [1 / k] * k, seed)
    return pd.Series([dealt[unit] for unit in units], index=table.index, dtype="int64")


def _units(table: pd.DataFrame) -> list[Unit]:
    subjects, groups, images = (_texts(table, name) for name in ("subject", "group", "image"))
    columns = (map(known_identifier, subjects), map(known_identifier, groups), images)
    return [
        ("subject", subject) if subject else ("group", group) if group else ("image", image or "")
        for subject, group, image in zip(*columns, strict=True)
    ]


def _texts(table: pd.DataFrame, name: str) -> list[str | None]:
    if name not in table:
        return [None] * len(table)
    present = table[name].notna().tolist()
    return [str(v) if there else None for v, there in zip(table[name], present, strict=True)]


def _strata(table: pd.DataFrame, units: Sequence[Unit], stratify: str) -> dict[str, list[Unit]]:
    """Units by the label they share, the strata in a fixed order."""
    values: dict[Unit, set[object]] = {unit: set() for unit in units}
    if stratify in table:
        present = table[stratify].notna().tolist()
        for unit, value, there in zip(units, table[stratify], present, strict=True):
            if there:
                values[unit].add(value)
    strata: dict[str, list[Unit]] = defaultdict(list)
    for unit in values:
        strata[_stratum(values[unit])].append(unit)
    return dict(sorted(strata.items()))


def _stratum(values: set[object]) -> str:
    if not values:
        return "unlabelled"
    if all(isinstance(value, str) for value in values):
        parts = {part for value in values for part in str(value).split(";") if part}
        return ";".join(sorted(parts))
    return f"{max(float(str(value)) for value in values):g}"


def _deal(strata: Mapping[str, list[Unit]], shares: Sequence[float], seed: int) -> dict[Unit, int]:
    """Give each unit the number of a split, stratum after stratum."""
    dealt: dict[Unit, int] = {}
    owed = [0.0] * len(shares)  # what the strata before left each split short of
    for units in strata.values():
        quotas = [len(units) * share for share in shares]
        counts = _apportion(quotas, len(units), owed)
        owed = [o + q - c for o, q, c in zip(owed, quotas, counts, strict=True)]
        splits = [i for i, count in enumerate(counts) for _ in range(count)]
        ordered = sorted(units, key=lambda unit: _rank(unit, seed))
        dealt.update(zip(ordered, splits, strict=True))
    return dealt


def _apportion(quotas: Sequence[float], total: int, owed: Sequence[float]) -> list[int]:
    """Whole counts with sum total, each the floor of its quota or one more.

    The remaining units go to the splits that are short of most, counting what is owed to them:
    so many strata of one subject each do not all feed the largest split.
    """
    counts = [math.floor(quota) for quota in quotas]
    # rounded, so that thirds tie on every machine; a tie goes to the first split
    short = [round(o + q - c, 9) for o, q, c in zip(owed, quotas, counts, strict=True)]
    by_need = sorted(range(len(counts)), key=lambda i: -short[i])
    for i in by_need[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _rank(unit: Unit, seed: int) -> str:
    # a hash, not a generator: a subject's place depends on its name alone
    return hashlib.sha256(f"{seed}\0{unit[0]}\0{unit[1]}".encode()).hexdigest()
