"""Ask an archive by what it learnt: the order of its cases, and what it suggests of a query."""

import threading
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np

from foveola.answers import Order, Suggestion
from foveola.archive import Archive
from foveola.archive.state import State
from foveola.errors import ArchiveError
from foveola.learned.kept import RELEVANCE, Learned, label_table, load_learned
from foveola.relevance.labels import Ids
from foveola.relevance.linear import Vectors
from foveola.relevance.order import Asked
from foveola.relevance.part import Part
from foveola.relevance.relevance import SHARES, Relevance


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
