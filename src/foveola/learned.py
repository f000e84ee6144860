"""What an archive learnt of its labels, kept beside it in A/relevance.bin.

    first line    "foveola relevance 1 ", the BLAKE2b checksum of the rest, a line feed
    rest          a .npz of numbers, without a name of a person or a file

It is bound to the encoder and to the cases it was fitted on, is written whole or not at all, and is
made again whenever the archive has changed.

`Ranker` asks an archive by what it learnt: the order of its cases, and what it suggests of a query.
"""

import io
import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from foveola import files, trust
from foveola.answers import Order, Suggestion
from foveola.archive import Archive
from foveola.archive.state import State
from foveola.encoders.release import DEFAULT
from foveola.errors import ArchiveError
from foveola.relevance.calibrate import Calibrated, Scaling, read_curve
from foveola.relevance.labels import FINDINGS, GRADE, MOST_VALUES, Ids, LabelTable
from foveola.relevance.learn import CLASSIFIER, TooFewError, learn, load_priors
from foveola.relevance.linear import Linear, Vectors
from foveola.relevance.order import SHARES, Asked, Part, Relevance
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
        """Return the further columns that were learnt or tried."""
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


class Ranker:
    """What an archive learnt, ready to be asked. Safe to use from several threads.

    Args:
        archive: opened; whoever made it closes it.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.RLock()
        self._kept: tuple[tuple[int, int] | None, Learned | None] = (None, None)
        self._ids: WeakKeyDictionary[Relevance, Ids] = WeakKeyDictionary()
        self._state: Ids | None = None  # the ids of the state of which the parts are
        self._parts: WeakKeyDictionary[Relevance, Part] = WeakKeyDictionary()

    def learned(self) -> Learned | None:
        """Return what the archive learnt, read again when that changed; None where nothing is."""
        try:
            file = (self._archive.folder / RELEVANCE).stat()
            stamp = file.st_mtime_ns, file.st_ino  # two may be written within a tick of the clock
        except OSError:
            stamp = None
        with self._lock:
            if stamp is None or stamp != self._kept[0]:
                learned = load_learned(self._archive)
                self._kept = stamp, learned
                self._ids.update(dict.fromkeys(learned.labels.values(), learned.ids) if learned else {})
            return self._kept[1]

    def choose(self, order: Order | None, label: str | None) -> tuple[Order, Relevance | None]:
        """Return the order to use and the label it is learnt of; None as label where none is.

        Args:
            order: asked for; None takes "learned" where the archive learnt something.
            label: asked for; None takes the one that most cases have.

        Raises:
            ArchiveError: an order or a label is asked for that the archive did not learn.
            ValueError: there is no such order.
        """
        if order is not None and order not in SHARES:
            raise ValueError(f"expected the order as one of {', '.join(SHARES)}, got {order!r}")
        learned = self.learned()
        labels: Mapping[str, Relevance] = learned.labels if learned else {}
        if label is not None and label not in labels:
            raise ArchiveError(_unlearnt(label, learned))
        found = labels[label] if label is not None else next(iter(labels.values()), None)
        if found is None and order in ("learned", "both"):
            raise ArchiveError(_unlearnt(None, learned))
        return order or ("learned" if found else "looks"), found

    def asked(
        self,
        state: State,
        relevance: Relevance,
        order: Order,
        descriptor: Vectors,
        id_: int | None,
        identity: tuple[str, str] | None,
    ) -> Asked | None:
        """Return what cases are ordered by beside the cosine; None for the cosine alone.

        Args:
            state: of the archive that is searched.
            relevance: of the label.
            order: from `choose`.
            descriptor: (D,) of the query.
            id_: of the query, where it is a case of the archive.
            identity: of its person, whose fold is left out of the fit.
        """
        if order == "looks":  # of which no part need be made
            return None
        return self._part(state, relevance).asked(order, descriptor, _own(state, id_, identity))

    def suggestion(
        self, state: State, relevance: Relevance, descriptor: Vectors, id_: int | None, identity: tuple[str, str] | None
    ) -> Suggestion | None:
        """Return what the archive suggests of a query; None where it can't say how surely."""
        return self._part(state, relevance).suggestion(descriptor, _own(state, id_, identity))

    def warm(self) -> None:
        """Make what the first search would wait for."""
        learned = self.learned()
        with self._archive.state() as state:
            for relevance in learned.labels.values() if learned else ():
                self._part(state, relevance)

    def _part(self, state: State, relevance: Relevance) -> Part:
        """Targets of every case of a state, made once for it and what was learnt."""
        with self._lock:
            if self._state is not state.ids:
                self._state = state.ids
                self._parts.clear()
            if relevance not in self._parts:
                self._parts[relevance] = _made(state, relevance, self._ids[relevance])
            return self._parts[relevance]


def _made(state: State, relevance: Relevance, ids: Ids) -> Part:
    fold = np.full(len(state.ids), -1, np.int8)
    at = np.searchsorted(ids, state.ids)
    there = at < len(ids)
    there[there] = ids[at[there]] == state.ids[there]
    fold[there] = relevance.fold[at[there]]
    recorded = label_table(state, relevance.label, relevance.values)
    return Part.of(relevance, recorded, state.matrix, fold)


def _own(state: State, id_: int | None, identity: tuple[str, str] | None) -> Ids:
    """Rows of the query's own person."""
    return state.rows((*state.ids_of(identity), *(() if id_ is None else (id_,))))


def _unlearnt(label: str | None, learned: Learned | None) -> str:
    if label is not None and learned and label in learned.refused:
        return learned.refused[label]
    what = "no order by labels" if label is None else f"nothing of {label!r}"
    known = ", ".join(learned.labels) if learned and learned.labels else "nothing yet"
    how = "" if label is None else f" --label {label}"
    return f"this archive has learnt {what} (learnt: {known}); run 'foveola learn ARCHIVE{how}', or ask by looks"
