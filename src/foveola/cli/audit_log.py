"""foveola audit-log."""

from pathlib import Path

import click

from foveola.cli.output import json_option, one_line_errors, print_json, say
from foveola.plain import plain

archive_argument = click.argument("archive", type=click.Path(file_okay=False, exists=True, path_type=Path))


@click.group("audit-log", epilog="Example: foveola audit-log verify archive/")
def audit_log() -> None:
    """See who saw which case of an archive with accounts, and that nobody changed the record.

    Each line of ARCHIVE/audit-log.jsonl holds the hash of the line before.
    """


@audit_log.command(epilog="Example: foveola audit-log verify archive/ --head 3f2a...")
@archive_argument
@click.option("--head", help="A head that was printed before, and kept elsewhere.")
@json_option
@one_line_errors
def verify(archive: Path, head: str | None, as_json: bool) -> None:
    """Check that no line of the log was changed, moved, put in or taken out.

    What was cut off its end, or a log made anew, only shows against a head kept elsewhere.
    """
    from foveola.server.audit import verify as check

    found = check(archive, head)
    if as_json:
        print_json(found)
        return
    click.echo(f"{archive}: {found.lines:,} lines, and each continues the one before")
    for number in found.cut:
        click.echo(f"line {number} was cut short by a crash; nothing was shown on it")
    if found.since is None:
        click.echo("no --head was given, so lines cut off the end would not be seen")
    else:
        click.echo(f"the head that was given is there, {found.since:,} lines before the end")
    click.echo(f"head {found.head}")


@audit_log.command(epilog="Example: foveola audit-log head archive/ >> elsewhere/heads.txt")
@archive_argument
@json_option
@one_line_errors
def head(archive: Path, as_json: bool) -> None:
    """Print the hash of the last line, to be kept where the archive's keepers can't change it."""
    from foveola.server.audit import head as last

    found = last(archive)
    say({"archive": str(archive), "head": found}, found, as_json=as_json)


def _time(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    from foveola.server.audit import time_of

    try:
        return None if text is None else time_of(text)
    except ValueError as error:
        raise click.BadParameter(plain(str(error))) from None


@audit_log.command(epilog="Example: foveola audit-log show archive/ --case 17 --since 2026-03")
@archive_argument
@click.option("--case", type=int, help="Only what showed the case of this id.")
@click.option("--account", help="Only of this account.")
@click.option("--since", callback=_time, help="Earliest time in UTC; 2026-03-01T09 begins one.")
@click.option("--until", callback=_time, help="Latest time; 2026-03 takes all of March.")
@json_option
@one_line_errors
def show(
    archive: Path, case: int | None, account: str | None, since: str | None, until: str | None, as_json: bool
) -> None:
    """List what was seen, by whom and when, oldest first; with --json one object a line."""
    from foveola.server.audit import read

    for seen in read(archive, case=case, account=account, since=since, until=until):
        if as_json:
            print_json(seen)
        else:
            told = " ".join(filter(None, (*map(str, seen.cases), seen.about)))
            click.echo(f"{seen.time}  {seen.account:16} {seen.action:16} {told}")
