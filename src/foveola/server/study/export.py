"""Answers as a table for multi-reader multi-case analysis."""

from collections.abc import Iterator

from foveola import plain
from foveola.server.study.answers import Answers
from foveola.server.study.plan import Study

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
    """One row an answer, by reader and then pair; an empty cell is unknown.

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
