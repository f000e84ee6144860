"""What all commands share: results to stdout, progress and faults to stderr, exit codes.

0  done
1  could not be done; one sentence on stderr says why
2  the command was typed wrongly
3  done, but some photographs could not be used; they are listed on stderr
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from foveola.cases import Case
from foveola.errors import FoveolaError

if TYPE_CHECKING:
    from foveola.trust import HitTrust, QueryTrust

P = ParamSpec("P")
R = TypeVar("R")

PARTLY = 3  # exit code when some photographs could not be used
LISTED = 20  # faults written out before the rest is only counted

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on one line.")


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a user can cause into one sentence on stderr and exit code 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except FoveolaError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:  # a full disk, a folder without permission
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error
        except MemoryError as error:
            raise click.ClickException("not enough memory for this") from error

    return run


def print_json(values: Any) -> None:
    """One line of JSON on stdout; NaN, which JSON lacks, can't get in."""
    click.echo(json.dumps(values, ensure_ascii=False, allow_nan=False))


def case_json(case: Case) -> dict[str, Any]:
    """A case as plain values; None is unknown or unlabelled."""
    return {
        "image": case.image,
        "path": case.path,
        "subject": case.subject,
        "collection": case.collection,
        "eye": case.eye,
        "visit": case.visit,
        "grade": case.grade,
        "findings": None if case.findings is None else sorted(case.findings),
        "extra": dict(case.extra),
    }


def trust_json(trust: "HitTrust | QueryTrust | None") -> dict[str, Any] | None:
    """How far a hit or an answer can be trusted, as plain values; shares from 0 to 1."""
    return None if trust is None else asdict(trust)


def record_columns(grade: int | None, findings: frozenset[str] | None) -> tuple[str, str]:
    """Grade and findings as columns of a table; "-" is unknown."""
    said = "-" if findings is None else ";".join(sorted(findings)) or "none"
    return f"{'-' if grade is None else grade:>5}", f"{said:12}"


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; the function it gives takes the number of things just done.

    Nothing is drawn where stderr is not a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=total)
        yield lambda n: bars.advance(task, n)


def list_failed(failed: Sequence[Any]) -> None:
    """Say on stderr which photographs could not be used and why."""
    if not failed:
        return
    click.echo(f"{len(failed)} photographs could not be used:", err=True)
    for item in failed[:LISTED]:
        reason = item.reason.removeprefix(f"{Path(item.case.path).name}: ")
        click.echo(f"  {item.case.image}: {reason}", err=True)
    if len(failed) > LISTED:
        click.echo(f"  and {len(failed) - LISTED} more (--json lists all)", err=True)


def failed_json(failed: Sequence[Any]) -> list[dict[str, str]]:
    """The photographs that could not be used, as plain values."""
    return [{"image": item.case.image, "reason": item.reason} for item in failed]


def read_cases(sources: Sequence[Path], collection: str) -> list[Case]:
    """The cases of manifests, of folders of photographs, and of single photographs."""
    from foveola.datasets.manifest import read_sources

    return read_sources(sources, collection)
