"""What an archive learnt of its labels, kept beside it in A/relevance.bin.

    first line    "foveola relevance 1 ", the BLAKE2b checksum of the rest, a line feed
    rest          a .npz of numbers, without a name of a person or a file

It is bound to the encoder and to the cases it was fitted on, is written whole or not at all, and is
made again whenever the archive has changed.
"""

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola import files, trust
from foveola.archive import Archive
from foveola.archive.state import State
from foveola.encoders.release import DEFAULT
from foveola.errors import ArchiveError
from foveola.relevance.calibrate import Calibrated, Scaling
from foveola.relevance.curve import read_curve
from foveola.relevance.labels import FINDINGS, GRADE, MOST_VALUES, LabelTable
from foveola.relevance.learn import TooFewError, learn
from foveola.relevance.linear import Linear
from foveola.relevance.prior import CLASSIFIER, load_priors
from foveola.relevance.relevance import Relevance
from foveola.trust import Seen

RELEVANCE = "relevance.bin"  # in the folder of an archive
OLDER = tuple(f"fundus-similarity-{i}" for i in (1, 2, 3, 4))  # once shipped
NEARLY = 1.1  # times as many cases as have a grade must have another label that comes before it
_HEAD = b"foveola relevance 1 "


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learnt of an archive of N cases.

    Attributes:
        fingerprint: of the encoder.
        ids: int64 (N,), of the cases the archive then had, ascending.
        fitted_on: 32 hexadecimal digits: a hash of the descriptors, labels and people, and of what
            the encoder was trained on and classifies itself.
        labels: what was learnt, by label; the one that most cases have comes first, and the grade
            where nearly as many have one.
        refused: why nothing was learnt of a label that some cases have, by label.
    """

    fingerprint: str
    ids: NDArray[np.int64]
    fitted_on: str
    labels: Mapping[str, Relevance]
    refused: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Further columns that were learnt or tried."""
        return tuple(n for n in (*self.labels, *self.refused) if n not in (GRADE, FINDINGS))


def learn_archive(archive: Archive, columns: Collection[str] = ()) -> Learned:
    """Learn from an archive's labels, and keep it beside them.

    Grade and findings are always tried; see `foveola.relevance.learn.learn`.

    Args:
        archive: opened; of one opened for reading only nothing is kept.
        columns: further columns to learn from.

    Raises:
        ArchiveError: the folder can't be written, or a column that was not learnt before has more
            values than a label that cases share.
    """
    kept = load_learned(archive)
    taught = _taught(archive, columns, () if kept is None else kept.columns)
    priors = load_priors(archive.encoder_folder)
    labels, refused = {}, dict(taught.refused)
    for table in sorted(taught.tables, key=_rank):
        if not table.known.any():  # of a column, too, that was learnt before its cases went
            continue
        try:
            labels[table.label] = learn(
                taught.matrix, table, taught.people, seen=taught.seen, prior=priors.get(table.label)
            )
        except TooFewError as error:
            refused[table.label] = str(error)
    made = Learned(archive.fingerprint, taught.ids, taught.hash, labels, refused)
    if not archive.read_only:
        save(made, archive.folder)
    return made


def refresh(archive: Archive, *, changed: bool = True) -> Learned:
    """Learn anew where the archive has changed: what labels look like, and what looks are worth.

    Args:
        archive: opened for writing.
        changed: whether cases or labels changed; if not, only what is not there is made.

    Raises:
        ArchiveError: the folder can't be written.
    """
    trust.refresh(archive, changed=changed)
    kept = load_learned(archive)
    if kept is not None and not changed and is_current(kept, archive):
        return kept
    return learn_archive(archive, () if kept is None else kept.columns)


def _rank(table: LabelTable) -> float:
    """Labels by the number of cases; the grade comes first where nearly as many have one."""
    return -float(table.known.sum()) * (NEARLY if table.label == GRADE else 1)


def is_current(kept: Learned | None, archive: Archive) -> bool:
    """Return whether something was learnt from what the archive holds now.

    Cases, descriptors, labels and people are compared by their hash, which takes a second for
    100,000 cases where no case came or went.
    """
    if kept is None or not np.array_equal(kept.ids, archive.vectors()[0]):
        return False
    return kept.fitted_on == _taught(archive, kept.columns, kept.columns).hash


def unlearnt(archive: Archive) -> list[str]:
    """Return what to do where an archive never learnt, or its files of that are gone; else []."""
    if not len(archive):
        return []
    said = []
    if load_learned(archive) is None:
        damaged = (archive.folder / RELEVANCE).exists()
        said.append(f"What this archive learns from its labels {_why(damaged=damaged)}.")
    if trust.is_missing(archive):
        said.append(f"What similarities are worth in this archive {_why()}.")
    return said


def _why(*, damaged: bool = False) -> str:
    why = "can't be read" if damaged else "is not there yet, or was lost"
    return f"{why}; run 'foveola learn' with it once"


def advice(archive: Archive) -> list[str]:
    """Return what the owner of an older archive should do, in sentences; [] of a new one."""
    said = unlearnt(archive)
    if not archive.is_checked:
        said.append(
            "It has no checksums of its rows yet, as an older Foveola made it; the next 'foveola index' adds them."
        )
    if archive.name in OLDER:
        said.append(
            f"It was made by the encoder {archive.name}; {DEFAULT} finds more, and its answers "
            "change less with the file. Index the photographs into a new archive to use it."
        )
    return said


@dataclass(frozen=True, eq=False)
class _Taught:
    """What is learnt from: N cases of one state of an archive."""

    ids: NDArray[np.int64]
    matrix: NDArray[np.float32]
    tables: list[LabelTable]
    people: NDArray[np.int64]
    seen: NDArray[np.bool_] | None
    refused: Mapping[str, str]  # columns that were learnt before and can't be any more
    hash: str


def _taught(archive: Archive, columns: Collection[str], before: Collection[str]) -> _Taught:
    """Read grade, findings and columns; one learnt before is refused where it is no label now."""
    refused = {}
    tables = []
    with archive.state() as state:
        for label in (GRADE, FINDINGS, *sorted(set(columns) - {GRADE, FINDINGS})):
            try:
                tables.append(label_table(state, label))
            except ArchiveError as error:
                if label not in before:
                    raise
                refused[label] = str(error)
        people = state.people()
        ids, matrix = state.ids, state.matrix
        known = Seen.load(archive.encoder_folder)
        seen = None if known is None else known.among(state.digests())
    digest = blake2b(np.ascontiguousarray(matrix).data, digest_size=16)
    digest.update(people.tobytes())
    digest.update(b"" if seen is None else seen.tobytes())
    prior = archive.encoder_folder / CLASSIFIER
    digest.update(prior.read_bytes() if prior.exists() else b"")
    for table in tables:
        digest.update(json.dumps([table.label, table.values]).encode())
        digest.update(table.members.tobytes() + table.known.tobytes())
    return _Taught(ids, matrix, tables, people, seen, refused, digest.hexdigest())


def label_table(state: State, label: str, values: Collection[str] | None = None) -> LabelTable:
    """Return what is recorded under a label of the N cases of an archive.

    Args:
        state: of the archive.
        label: "grade", "findings", or the name of a further column.
        values: of the label; a case of a column with another one is taken as unknown.

    Raises:
        ArchiveError: a column has more values than a label that cases share; not of some values.
    """
    if label == GRADE:
        grades = (None if grade is None else {str(grade)} for grade, _ in state.labelled())
        return LabelTable.of(label, list(grades))
    if label == FINDINGS:
        return LabelTable.of(label, [findings for _, findings in state.labelled()])
    column = state.column(label)
    found = {value for value in column if value is not None}
    if values is None and len(found) > MOST_VALUES:
        raise ArchiveError(
            f"column {label!r} has {len(found)} different values; expected at most "
            f"{MOST_VALUES}, as of a label that cases share"
        )
    known = found if values is None else found.intersection(values)
    return LabelTable.of(label, [{value} if value in known else None for value in column])


def save(made: Learned, folder: Path) -> None:
    """Write wholly, or not at all.

    Raises:
        ArchiveError: the folder can't be written.
    """
    arrays: dict[str, NDArray[Any]] = {"ids": made.ids}
    about: dict[str, Any] = {
        "fingerprint": made.fingerprint,
        "fitted_on": made.fitted_on,
        "refused": dict(made.refused),
        "labels": [],
    }
    for i, (label, of) in enumerate(made.labels.items()):
        told = of.calibrated
        every = (of.linear, *of.apart)
        arrays[f"{i}.weights"] = np.stack([each.weights for each in every])
        arrays[f"{i}.bias"] = np.stack([each.bias for each in every])
        arrays[f"{i}.fold"] = of.fold
        scalings = (told.even, told.natural)
        arrays[f"{i}.scaling"] = np.array([[s.slope, s.shift] for s in scalings])
        about["labels"].append(
            {
                "label": label,
                "values": of.values,
                "link": of.link,
                "cases": of.cases,
                "unlearnt": of.unlearnt,
                "people": told.people,
                "new": told.new,
                "curve": None if told.curve is None else asdict(told.curve),
            }
        )
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    data = buffer.getvalue()
    path = folder / RELEVANCE
    try:
        files.write_whole(path, _HEAD + files.checksum(data).encode() + b"\n" + data)
    except OSError as error:
        raise ArchiveError(f"{path} can't be written: {error.strerror}") from None


def load_learned(archive: Archive) -> Learned | None:
    """Return what was kept of an archive; None where nothing whole was, of its encoder."""
    try:
        data = (archive.folder / RELEVANCE).read_bytes()
    except OSError:
        return None
    head, _, rest = data.partition(b"\n")
    if head != _HEAD + files.checksum(rest).encode():
        return None
    try:
        made = _read(files.unpack_arrays(rest, RELEVANCE))
    except (ValueError, KeyError, TypeError):
        return None
    return made if made.fingerprint == archive.fingerprint else None


def _read(kept: Mapping[str, NDArray[Any]]) -> Learned:
    about = json.loads(kept["about"].tobytes())
    labels = {}
    for i, of in enumerate(about["labels"]):
        every = [Linear(*pair) for pair in zip(kept[f"{i}.weights"], kept[f"{i}.bias"], strict=True)]
        even, natural = (Scaling(*pair) for pair in kept[f"{i}.scaling"])
        told = Calibrated(even, natural, read_curve(of["curve"]), of["people"], of["new"])
        labels[of["label"]] = Relevance(
            label=of["label"],
            values=tuple(of["values"]),
            link=of["link"],
            linear=every[0],
            calibrated=told,
            apart=tuple(every[1:]),
            fold=kept[f"{i}.fold"],
            cases=of["cases"],
            unlearnt=tuple(of["unlearnt"]),
        )
    return Learned(about["fingerprint"], kept["ids"], about["fitted_on"], labels, about["refused"])
