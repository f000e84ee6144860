"""Splits and folds by subject, made or read from published split files: no person is on both sides.

A unit is what must stay together: a known subject with all its images; where the subject is
unknown, a group, if there is a column `group`; else the single image.

Split files say which images are train, val and test:

    train.txt   10_left 1 0 0 0 0       image, then its grade as one of five
    val.txt     13_right.jpeg,0,0,1,0,0
    test.txt

This is how the repository of mirror attention (Fang et al., Biomed. Signal Process. Control 80
(2023) 104277) gives its split of the Kaggle set: 35,108 images, of which train and val are ranked
(28,086) for each of test (7,022). It was drawn image by image, so that four queries of five have
their fellow eye in the gallery. `SplitFiles.by_subject` splits the same images by subject.
"""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

import pandas as pd

from foveola.datasets.manifest import Manifest
from foveola.datasets.tables import Faults, quoted
from foveola.errors import ManifestError
from foveola.files import write_whole
from foveola.images.kinds import SUFFIXES
from foveola.records import Case, Eye, identifier, known_identifier
from foveola.resources import AnyPath

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

    >>> table = pd.DataFrame({"image": ["a", "b", "c", "d"], "subject": ["1", "1", "2", "2"]})
    >>> sorted(split_by_subject(table, {"train": 0.5, "test": 0.5}).tolist())
    ['test', 'test', 'train', 'train']
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
        # by a hash, not a generator: a subject's place depends on its name alone
        ordered = sorted(units, key=lambda u: hashlib.sha256(f"{seed}\0{u[0]}\0{u[1]}".encode()).hexdigest())
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


# --- split files ---


PARTS = ("train", "val", "test")
GALLERY, QUERIES = ("train", "val"), ("test",)

_GRADES = 5
_EYE = re.compile(r"(?P<subject>.+)_(?P<eye>left|right)")


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        part: train, val or test.
        image: name without folder and ending, such as 10_left.
        grade: 0 to 4.
        file, row: where it stands, the first line being row 1.
    """

    part: str
    image: str
    grade: int
    file: Path
    row: int

    @property
    def subject(self) -> str | None:
        """Return what stands before _left or _right; None where neither ends the name."""
        found = _EYE.fullmatch(self.image)
        return identifier(found["subject"]) if found else None


@dataclass(frozen=True)
class SplitFiles:
    """The lines of all three files, each image once, in the order of the files."""

    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, folder: AnyPath) -> Self:
        """Read train.txt, val.txt and test.txt: UTF-8, separated by commas or space.

        Raises:
            ManifestError: a file is absent, empty or no text; a line is not an image and five
                numbers of which one is 1; an image stands twice, in one file or in two.
        """
        folder = Path(folder)
        seen: dict[str, Entry] = {}
        for part in PARTS:
            path = folder / f"{part}.txt"
            faults = Faults()
            before = len(seen)
            for entry in _lines(path, part, faults):
                _add(entry, seen, faults)
            faults.raise_if_any(path)
            if len(seen) == before:
                raise ManifestError(f"{path} holds no image")
        return cls(tuple(seen.values()))

    def of(self, parts: Sequence[str]) -> list[Entry]:
        """Return the entries of some parts."""
        return [entry for entry in self.entries if entry.part in parts]

    def counts(self, parts: Sequence[str]) -> list[int]:
        """Count the images of some parts that have grade 0, 1, 2, 3 and 4."""
        grades = [entry.grade for entry in self.of(parts)]
        return [grades.count(grade) for grade in range(_GRADES)]

    def on_both_sides(self) -> int:
        """Count the queries that have another image of their subject in the gallery."""
        gallery = {entry.subject for entry in self.of(GALLERY)} - {None}
        return sum(entry.subject in gallery for entry in self.of(QUERIES))

    def by_subject(self, *, seed: int = 0) -> Self:
        """Regroup the same images so that every subject is in one part only.

        The parts keep their shares and follow the subjects' worst grade, see `split_by_subject`;
        which subjects go where is new, for four of five were in two parts. An encoder that was
        trained on the published train part has therefore seen some of these queries: train it
        anew on this train part.

        Raises:
            ManifestError: an image's name does not end in _left or _right, or there are too few
                subjects for two sides.
        """
        for file in dict.fromkeys(entry.file for entry in self.entries):
            faults = Faults()
            for entry in (e for e in self.entries if e.file == file and e.subject is None):
                faults.add(entry.row, "the image's name does not end in _left or _right, so its subject is unknown")
            faults.raise_if_any(file)
        rows = [(e.subject, e.image, e.grade) for e in self.entries]
        table = pd.DataFrame(rows, columns=["subject", "image", "grade"])
        shares = {part: len(self.of([part])) / len(self.entries) for part in PARTS}
        parts = split_by_subject(table, shares, seed=seed)
        split = type(self)(tuple(replace(e, part=part) for e, part in zip(self.entries, parts, strict=True)))
        if not split.of(GALLERY) or not split.of(QUERIES):
            raise ManifestError(f"the split files hold {table.subject.nunique()} subjects, too few for two sides")
        return split

    def write(self, folder: AnyPath) -> None:
        """Write the three files, to train on; the folder is made."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            lines = [
                " ".join([e.image, *("01"[e.grade == grade] for grade in range(_GRADES))]) for e in self.of([part])
            ]
            write_whole(folder / f"{part}.txt", ("\n".join(lines) + "\n").encode())

    def find(self, cases: Sequence[Case]) -> dict[str, list[tuple[int, Case]]]:
        """Find the cases that the files name, by part and in the order of the files.

        Names are compared without folder and ending.

        Returns:
            For each part, position in `cases` and the case: with the file's grade, and with
            subject and eye from its name where the case has none.

        Raises:
            ManifestError: an image is not among the cases or is there more than once, or a case
                has another grade than the files.
        """
        places: dict[str, list[int]] = {}
        for i, case in enumerate(cases):
            places.setdefault(_name(case.image), []).append(i)
        found: dict[str, list[tuple[int, Case]]] = {part: [] for part in PARTS}
        faults = {entry.file: Faults() for entry in self.entries}
        for entry in self.entries:
            at = places.get(entry.image, [])
            fault = _mismatch(entry, [cases[i] for i in at])
            if fault:
                faults[entry.file].add(entry.row, fault)
            else:
                found[entry.part].append((at[0], _told(cases[at[0]], entry)))
        for file, of_file in faults.items():
            of_file.raise_if_any(file)
        return found


def _lines(path: Path, part: str, faults: Faults) -> Iterator[Entry]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file; split files are {', '.join(f'{p}.txt' for p in PARTS)}") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path} is not UTF-8 text") from None
    for row, line in enumerate(text.splitlines(), 1):
        image, *numbers = re.split(r"\s*,\s*|\s+", line.strip())
        if not image and not numbers:
            continue
        grade = _grade(numbers)
        if grade is None or not image:
            faults.add(
                row,
                "expected an image and five numbers, one of them 1 and the others 0",
                f"found {quoted(' '.join(numbers))} after the image",
            )
        else:
            yield Entry(part, _name(image), grade, path, row)


def _grade(numbers: Sequence[str]) -> int | None:
    """Where the 1 stands among four 0; 1.0 counts as 1."""
    digits = [{"0": 0, "0.0": 0, "1": 1, "1.0": 1}.get(number) for number in numbers]
    return digits.index(1) if sorted(str(d) for d in digits) == list("00001") else None


def _name(image: str) -> str:
    path = PurePosixPath(image)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _add(entry: Entry, seen: dict[str, Entry], faults: Faults) -> None:
    first = seen.setdefault(entry.image, entry)
    if first is entry:
        return
    where = f"in row {first.row} of {first.file.name}"
    if first.grade != entry.grade:
        faults.add(entry.row, f"an image of grade {entry.grade} that has grade {first.grade} elsewhere", where)
    else:
        faults.add(entry.row, "an image that is listed already", where)


def _mismatch(entry: Entry, cases: Sequence[Case]) -> str | None:
    """What is wrong with the cases of an entry's name."""
    if not cases:
        return "no indexed image has this name"
    if len(cases) > 1:
        return f"{len(cases)} indexed images have this name"
    if cases[0].grade not in (None, entry.grade):
        return f"grade {entry.grade} here, but {cases[0].grade} where it was indexed"
    return None


def _told(case: Case, entry: Entry) -> Case:
    named = _EYE.fullmatch(entry.image)
    if case.subject is None and named:
        eye: Eye = "left" if named["eye"] == "left" else "right"
        case = replace(case, subject=named["subject"], eye=case.eye or eye)
    return replace(case, grade=entry.grade)
