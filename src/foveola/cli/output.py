"""What all commands share: results to stdout, progress and faults to stderr, exit codes.

With --json stdout is one JSON value, or of what goes on until it is stopped one object a line.

0  done
1  could not be done; one sentence on stderr says why
2  the command was typed wrongly
3  done, but some photographs could not be used; they are listed on stderr
141  who read the results closed the pipe, as `head` does; nothing is said
"""

import functools
import json
import select
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from foveola.errors import FoveolaError, ManifestError
from foveola.plain import plain, plain_lines
from foveola.records import Case
from foveola.serial import to_plain

if TYPE_CHECKING:
    from foveola.images.kinds import PassedOver

# Commands that finish themselves what was interrupted, and fail where that can't be done.
FINISHING = ("foveola.cli.archive.remove", "foveola.cli.archive.forget")
ARCHIVES = ("archive", "against")  # what commands call an archive that they are given

P = ParamSpec("P")
R = TypeVar("R")

PARTLY = 3  # exit code when some photographs could not be used
LISTED = 20  # faults written out before the rest is only counted

archive_argument = click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
existing_archive = click.argument("archive", type=click.Path(file_okay=False, exists=True, path_type=Path))
bootstrap_option = click.option(
    "--bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Resamples of the subjects for the intervals; 0 for none.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on one line.")


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a user can cause into one sentence on stderr and exit code 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _check_typed(kwargs)
        try:
            for name in ARCHIVES:
                finish_what_was_begun(f"{command.__module__}.{command.__name__}", kwargs.get(name))
            return command(*args, **kwargs)
        except FoveolaError as error:
            shown = plain_lines if isinstance(error, ManifestError) else plain  # it lists faults
            raise click.ClickException(shown(str(error))) from error
        except OSError as error:  # a full disk, a folder without permission
            if isinstance(error, BrokenPipeError) and nobody_reads():
                raise  # not the hanging up of another computer; `main` ends it
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(plain(f"{where}{error.strerror or error}")) from error
        except sqlite3.OperationalError as error:  # likewise, and not told by what opened it
            raise click.ClickException(f"a database can't be used: {error}") from error
        except MemoryError as error:
            raise click.ClickException("not enough memory for this") from error

    return run


def _check_typed(values: Mapping[str, Any]) -> None:
    """Refuse a text of bytes that are not UTF-8: no name is such a text, but that of a file."""
    context = click.get_current_context()
    named = {param.name: param for param in context.command.params}
    for name, value in values.items():
        texts = value if isinstance(value, tuple) else (value,)
        if not all(is_utf8(text) for text in texts if isinstance(text, str)):
            raise click.BadParameter("expected a text in UTF-8", context, named.get(name))


def nobody_reads() -> bool:
    """Return whether who read stdout or stderr has closed it."""
    ends = select.poll()
    for stream in (1, 2):
        ends.register(stream, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in ends.poll(0))


def say(values: Any, text: str, *, as_json: bool) -> None:
    """Print what a command did, as JSON where that was asked for."""
    if as_json:
        print_json(values)
    else:
        click.echo(text)


def show(
    found: Any,
    text: Callable[[], None],
    page: Callable[[], str],
    html: Path | None,
    *,
    as_json: bool,
    notes: Iterable[str | None] = (),
) -> None:
    """Write a report, print what was found, and say what must be known of it.

    Args:
        found: printed as JSON where that was asked for.
        text: prints the same for people.
        page: of the report.
        html: where the report is written; None for no report.
        as_json: whether JSON was asked for.
        notes: sentences for stderr.
    """
    if html is not None:
        from foveola.report import write_page

        write_page(html, page())
    if as_json:
        print_json(found)
    else:
        text()
    for note in filter(None, (*notes, html and f"report: {html}")):
        click.echo(note, err=True)


def finish_what_was_begun(command: str, archive: object) -> None:
    """Finish a removal that was interrupted, whatever is asked of an archive next, and say so.

    What can't be finished now, on a disc that can't be written say, is not found all the same.
    """
    if not isinstance(archive, Path):
        return
    from foveola.archive.removals import are_pending

    if not are_pending(archive):
        return
    if command in FINISHING:
        click.echo("A removal that was interrupted is finished first.", err=True)
        return
    from foveola.server.maintenance import finish_removals

    with suppress(FoveolaError, OSError):
        if count := finish_removals(archive, wait=False):
            click.echo(f"A removal of {count} cases that was interrupted is finished.", err=True)


def print_json(values: Any) -> None:
    """Print one line of JSON on stdout, by the rules of `foveola.serial`."""
    values = to_plain(values)
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    click.echo(text if is_utf8(text) else json.dumps(values, allow_nan=False))


def is_utf8(text: str) -> bool:
    """Return whether a text can be printed; the name of a file need not."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def doubtful(sentence: str, ids: Sequence[int]) -> str:
    """Say of which cases it is not sure whose they are."""
    numbers = ", ".join(map(str, ids[:LISTED])) + (" and more" if len(ids) > LISTED else "")
    return f"look at {'case' if len(ids) == 1 else 'cases'} {numbers}: {sentence}"


def record_columns(grade: int | None, findings: frozenset[str] | None) -> tuple[str, str]:
    """Grade and findings as columns of a table; "-" is unknown."""
    said = "-" if findings is None else ";".join(sorted(findings)) or "none"
    return f"{'-' if grade is None else grade:>5}", f"{said:12}"


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Draw a bar on stderr; the function it gives takes the number of things just done.

    Nothing is drawn where there is nothing to do, or where stderr is not a terminal. None is a
    number that nobody knows yet.
    """
    if total == 0 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.__stderr__)) as bars:
        task = bars.add_task(what, total=total)
        yield lambda n: bars.advance(task, n)


def list_failed(failed: Sequence[Any]) -> None:
    """Say on stderr which photographs could not be used and why."""
    if not failed:
        return
    click.echo(f"{len(failed)} photographs could not be used:", err=True)
    for item in failed[:LISTED]:
        reason = item.reason.removeprefix(f"{Path(item.case.path).name}: ")
        click.echo(plain(f"  {item.case.image}: {reason}"), err=True)
    if len(failed) > LISTED:
        click.echo(f"  and {len(failed) - LISTED} more (--json lists all)", err=True)


def failed_json(failed: Sequence[Any]) -> list[dict[str, str]]:
    """Return the photographs that could not be used, as plain values."""
    return [{"image": item.case.image, "reason": item.reason} for item in failed]


def read_cases(sources: Sequence[Path], collection: str, passed: "PassedOver | None" = None) -> list[Case]:
    """Read the cases of manifests, of folders of photographs, and of single photographs.

    What was passed over in folders is said on stderr, and counted in `passed`.
    """
    from foveola.datasets.manifest import read_sources
    from foveola.images.kinds import PassedOver

    passed = PassedOver() if passed is None else passed
    cases = read_sources(sources, collection, passed)
    say_passed_over(passed)
    return cases


def say_passed_over(passed: "PassedOver") -> None:
    """Say on stderr what was passed over in folders, if anything."""
    if (said := passed.said()) is not None:
        click.echo(said, err=True)


def say_doubtful(count: int, added: int, more: str = "") -> None:
    """Say on stderr how many photographs may not be gradable."""
    if count:
        click.echo(f"{count} of the {added} added may be too dark, blurred or hazy to be graded{more}", err=True)


def import_openvino_runtime() -> None:
    """Import OpenVINO without its model converter, which is half of its import time.

    OpenVINO itself allows for an absent converter. This is for a process of ours only, never
    for the library: `openvino.convert_model` is missing afterwards.
    """
    converter = "openvino.tools.ovc"
    if "openvino" in sys.modules:
        return
    sys.modules[converter] = None  # type: ignore[assignment]  # importing it is an ImportError
    try:
        import openvino  # noqa: F401
    finally:
        del sys.modules[converter]
