"""Reader studies: do people find the hits of a search more alike than random cases?

    STUDY/study.json       which cases are shown in pairs, and which of them are controls
    STUDY/answers.jsonl    one line for each answer, on the disk before the next pair is shown

A pair is a case of the archive asked about, and beside it one of its hits or a control: a case
drawn at random from other people. A reader sees neither which it is, nor grades, findings, ids or
ranks. Every reader sees all pairs, each in an order of their own that the seed decides.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from foveola import files, plain
from foveola.archive import Archive
from foveola.errors import StudyError
from foveola.records import Case
from foveola.resources import AnyPath

FILE, ANSWERS = "study.json", "answers.jsonl"
FORMAT = 1
SCALE = 5  # of answers, 1 to 5
Condition = Literal["hit", "control"]
_log = logging.getLogger(__name__)
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,19}")


@dataclass(frozen=True)
class Item:
    """One pair.

    Attributes:
        number: from 1.
        case: number of the case asked about, from 1: what MRMC analysis calls the case.
        query, shown: ids in the archive.
        condition: "hit", one of the most alike; or "control", drawn at random.
        rank: of a hit, from 1; 0 of a control.
        similarity: cosine of the two descriptors.
        truth: whether both have the same grade, or share a finding where grades are not known;
            None where neither is.
    """

    number: int
    case: int
    query: int
    shown: int
    condition: Condition
    rank: int
    similarity: float
    truth: bool | None


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        folder: where it lies.
        fingerprint: of the archive's encoder.
        seed: that decides what is drawn, and the orders.
        items: the pairs.
    """

    folder: Path
    fingerprint: str
    seed: int
    items: tuple[Item, ...]

    def order(self, reader: str) -> tuple[Item, ...]:
        """Return the pairs as a reader sees them; always the same for a reader."""
        said = hashlib.blake2b(f"{self.seed} {reader}".encode(), digest_size=8).digest()
        drawn = np.random.default_rng(int.from_bytes(said, "little")).permutation(len(self.items))
        return tuple(self.items[i] for i in drawn.tolist())

    def check(self, archive: Archive) -> None:
        """Refuse another archive than the one it was drawn from.

        Raises:
            StudyError: its encoder is another.
        """
        if archive.fingerprint != self.fingerprint:
            raise StudyError(
                f"{self.folder} was drawn from an archive of another encoder; give that archive, or draw a new study"
            )


def code(reader: str) -> str:
    """Return a reader's code as it was given.

    Raises:
        StudyError: it is no code.
    """
    if not _CODE.fullmatch(reader):
        raise StudyError(
            "a reader's code has 1 to 20 letters, digits, - or _, and begins with a letter or a "
            "digit; take a code and no name"
        )
    return reader


def new_study(
    archive: Archive,
    folder: AnyPath,
    *,
    queries: int = 20,
    shown: int = 4,
    controls: float = 0.25,
    seed: int = 0,
    where: str | None = None,
) -> Study:
    """Draw a study and write it into a new folder.

    Args:
        archive: opened.
        folder: of the study; must not hold one.
        queries: cases asked about, each of another person.
        shown: cases shown beside each, one a person.
        controls: share of these that are drawn at random, from 0 to 1.
        seed: decides what is drawn.
        where: condition on the cases asked about, see docs/reference/archive.md.

    Raises:
        StudyError: there is a study already, or the archive has too few people.
        FilterError: the condition can't be understood.
    """
    folder = Path(folder)
    if not 0 <= controls <= 1 or queries < 1 or shown < 1:
        raise ValueError("expected queries and shown of at least 1, and controls from 0 to 1")
    if (folder / FILE).exists():
        raise StudyError(f"{folder} holds a study already; give another folder")
    items = _draw(archive, queries, shown, round(controls * shown), seed, where)
    study = Study(folder, archive.fingerprint, seed, tuple(items))
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    told = {"format": FORMAT, "fingerprint": study.fingerprint, "seed": seed, "items": [asdict(item) for item in items]}
    try:
        files.write_json(folder / FILE, told, indent=1)
    except OSError:
        if new:
            folder.rmdir()
        raise
    return study


def open_study(folder: AnyPath) -> Study:
    """Read a study.

    Raises:
        StudyError: there is none, or it can't be read.
    """
    folder = Path(folder)
    try:
        told = files.read_json(folder / FILE)
        if told["format"] != FORMAT:
            raise StudyError(f"{folder} has study format {told['format']!r}; expected {FORMAT}")
        items = tuple(Item(**item) for item in told["items"])
        return Study(folder, str(told["fingerprint"]), int(told["seed"]), items)
    except OSError:
        raise StudyError(f"{folder} holds no study; make one with: foveola study new") from None
    except (ValueError, KeyError, TypeError):
        raise StudyError(f"{folder / FILE} can't be read; make the study again") from None


def _draw(archive: Archive, queries: int, shown: int, controls: int, seed: int, where: str | None) -> list[Item]:
    rng = np.random.default_rng(seed)
    with archive.state() as state:
        ids, matrix = state.ids, state.matrix
        asked = np.flatnonzero(state.matching(where))
        cases = state.cases(range(len(ids)))
    people = [case.identity for case in cases]
    items: list[Item] = []
    for row in _one_a_person(rng.permutation(asked).tolist(), people)[:queries]:
        cosines = matrix @ matrix[row]
        others = [i for i in np.argsort(-cosines, kind="stable").tolist() if people[i] != people[row]]
        hits = _one_a_person(others, people)[: shown - controls]
        near = {people[i] for i in hits}
        far = [i for i in rng.permutation(others).tolist() if people[i] not in near]
        pairs: list[tuple[int, Condition, int]] = [(i, "hit", r) for r, i in enumerate(hits, 1)]
        pairs += [(i, "control", 0) for i in _one_a_person(far, people)[:controls]]
        if len(pairs) < shown:
            raise StudyError(
                f"the archive has {len(set(people))} people, too few to show {shown} of them "
                "beside another; give a smaller number"
            )
        items += [
            Item(
                len(items) + n,
                items[-1].case + 1 if items else 1,
                int(ids[row]),
                int(ids[i]),
                kind,
                rank,
                round(float(cosines[i]), 6),
                same(cases[row], cases[i]),
            )
            for n, (i, kind, rank) in enumerate(pairs, 1)
        ]
    if not items:
        raise StudyError("no case meets the condition; there is nothing to ask about")
    return items


def _one_a_person(rows: Sequence[int], people: Sequence[object]) -> list[int]:
    """The first row of each person."""
    first: dict[object, int] = {}
    for row in rows:
        first.setdefault(people[row], row)
    return list(first.values())


def same(one: Case, other: Case) -> bool | None:
    """Return whether two cases have one grade or, where that is not known, share a finding.

    >>> same(Case(image="", path="", grade=2), Case(image="", path="", grade=3))
    False
    """
    if one.grade is not None and other.grade is not None:
        return one.grade == other.grade
    if one.findings is None or other.findings is None:
        return None
    return bool(one.findings & other.findings) or one.findings == other.findings


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        reader: code.
        item: number of the pair.
        order: place in the reader's order, from 1.
        similar: how alike, 1 to 5.
        useful: how useful it would have been, 1 to 5.
        seconds: from the pair's being shown to the answer, by the reader's own clock.
        server_seconds: the same by ours, with the network in it; None after a restart.
        time: when, ISO 8601 in UTC.
    """

    reader: str
    item: int
    order: int
    similar: int
    useful: int
    seconds: float | None
    server_seconds: float | None
    time: str = ""


class Answers:
    """The answers of a study. Safe to use from several threads of one process.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ANSWERS
        self._lock = threading.Lock()

    def add(self, answer: Answer) -> bool:
        """Keep an answer; False where this reader has answered this pair before, which stays.

        Raises:
            StudyError: it is no answer, or it can't be written.
        """
        for value in (answer.similar, answer.useful):
            if not 1 <= value <= SCALE:
                raise StudyError(f"expected an answer from 1 to {SCALE}, got {value}")
        with self._lock:
            if any(a.reader == answer.reader and a.item == answer.item for a in self.all()):
                return False
            made = asdict(answer) | {"time": datetime.now(UTC).isoformat(timespec="seconds")}
            try:
                files.append_line(self._path, made)
            except OSError as error:
                raise StudyError(
                    f"the answer can't be kept ({error.strerror}); make the study's folder writable"
                ) from None
            return True

    def all(self) -> list[Answer]:
        """Read all answers as they came.

        Left out is a line that a crash cut short, or that was changed; a warning is logged then.
        """
        kept = files.read_lines(self._path)
        sound, found = kept.sound, []
        for _, values in kept.values:
            try:
                found.append(Answer(**values))
            except TypeError:
                sound = False
        if not sound:
            _log.warning("%s: answers are missing, or can't be read and are left out", ANSWERS)
        return found


COLUMNS = (
    "reader",
    "case",
    "condition",
    "score",
    "useful",
    "truth",
    "seconds",
    "server_seconds",
    "item",
    "order",
    "rank",
    "similarity",
    "query_id",
    "shown_id",
    "time",
)


def to_csv(study: Study) -> str:
    """Write one row an answer, by reader and then pair; an empty cell is unknown.

    `case` is the case asked about, `condition` the modality (hit or control), `score` how alike the
    reader found the two, `truth` 1 where their labels agree.
    """
    return plain.to_csv(COLUMNS, _rows(study))


def _rows(study: Study) -> Iterator[tuple[object, ...]]:
    items = {item.number: item for item in study.items}
    for a in sorted(Answers(study.folder).all(), key=lambda a: (a.reader, a.item)):
        if a.item not in items:
            continue
        of = items[a.item]
        truth = "" if of.truth is None else int(of.truth)
        yield (
            a.reader,
            of.case,
            of.condition,
            a.similar,
            a.useful,
            truth,
            a.seconds,
            a.server_seconds,
            a.item,
            a.order,
            of.rank or "",
            of.similarity,
            of.query,
            of.shown,
            a.time,
        )
