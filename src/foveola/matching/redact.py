"""Taking people out of what matching keeps beside an archive: decisions and uses."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, combinations
from pathlib import Path

from foveola import files
from foveola.matching import decisions, permission
from foveola.matching.findings import KINDS, key_of
from foveola.records import Case

FORGOTTEN = "forgotten"
Line = dict[str, object]
Change = Callable[[Line], Line | None]


def forget_decisions(folder: Path, gone: Sequence[Case], cases: Sequence[Case], *, count_only: bool = False) -> int:
    """Remove the decisions on findings in which a photograph is involved.

    A decision names its finding by a hash, so the findings there could have been are gone through:
    every photograph alone, with every other one, and three of one person. A decision made before
    the record of one of its photographs was changed can't be told, and stays.

    Args:
        folder: the archive.
        gone: the photographs.
        cases: all of the archive, these among them.
        count_only: change nothing.

    Returns:
        How many decisions went; a finding that was decided on twice counts twice.
    """
    path = folder / decisions.FILE
    made = set(decisions.decisions(folder, withdrawn=True))
    found = made.intersection(_keys(gone, cases)) if made else set()
    return _rewrite(path, lambda values: None if values.get("key") in found else values, count_only)


def forget_uses(folder: Path, digests: Collection[bytes], *, count_only: bool = False) -> int:
    """Take the digests of photographs out of the log of matching; how many lines have one."""
    short = {digest.hex()[:16] for digest in digests}

    def without(values: Line) -> Line:
        return values | {"query": FORGOTTEN} if values.get("query") in short else values

    return _rewrite(folder / permission.LOG, without, count_only)


def _keys(gone: Sequence[Case], cases: Sequence[Case]) -> Iterator[str]:
    names = sorted(set().union(*(case.findings or () for case in cases)))
    values = [f"grade {grade}" for grade in range(5)] + names
    for one in gone:
        yield from (key_of("label", said + value, [one]) for value in values for said in ("", "no "))
        for kind in KINDS:
            yield key_of(kind, "", [one])
            yield from (key_of(kind, "", [one, other]) for other in cases if other is not one)
    for several in chain.from_iterable(combinations(gone, count) for count in (3, 4)):
        yield key_of("two splits", "", several)


def _rewrite(path: Path, change: Change, count_only: bool) -> int:
    """Change the lines of a file of JSON lines, wholly or not at all; how many changed."""
    if not path.exists():
        return 0
    changed = 0

    def rewritten(lines: list[bytes]) -> list[bytes]:
        nonlocal changed
        kept = []
        for line in lines:
            try:
                before = json.loads(line)
                after = change(dict(before))
            except (ValueError, TypeError):  # a line that a crash cut short
                kept.append(line)
                continue
            changed += after != before
            if after is not None:
                kept.append(line if after == before else files.line_of(after))
        return kept

    if count_only:
        rewritten(path.read_bytes().splitlines(keepends=True))
    else:
        files.rewrite_lines(path, rewritten)
    return changed
