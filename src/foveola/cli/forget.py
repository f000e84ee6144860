"""foveola forget, backup."""

from pathlib import Path

import click

from foveola.cli.output import json_option, one_line_errors, print_json, say

archive_argument = click.argument("archive", type=click.Path(file_okay=False, exists=True, path_type=Path))


@click.command(epilog="Example: foveola forget archive/ 1042 > receipt.json")
@archive_argument
@click.argument("subject")
@click.option("--collection", help="Name space of the subject.")
@click.option("--files", is_flag=True, help="Also delete photographs outside the archive.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@one_line_errors
def forget(
    archive: Path,
    subject: str,
    collection: str | None,
    files: bool,
    yes: bool,
    as_json: bool,  # noqa: ARG001 - a receipt is JSON in any case
) -> None:
    """Take everything of SUBJECT out of ARCHIVE, and print a receipt, which is always JSON.

    Cases, descriptors, what matching and the audit keep, and files inside the archive's folder.
    The receipt names nobody. Copies of the archive, back-ups among them, are not reached.
    """
    from foveola.server.maintenance.forget import forget as remove

    if not yes:
        which = "with its photographs, " if files else ""
        click.confirm(f"Forget this subject, {which}for good?", abort=True, err=True)
    print_json(remove(archive, subject, collection, files=files))


@click.command(epilog="Example: foveola backup archive/ /backups/archive-2026-03-01")
@archive_argument
@click.argument("to", type=click.Path(path_type=Path))
@json_option
@one_line_errors
def backup(archive: Path, to: Path, as_json: bool) -> None:
    """Copy ARCHIVE to the new folder TO, also while it is served or added to.

    Accounts and logs go with it; photographs outside the archive's folder do not.
    """
    from foveola.server.maintenance.backup import backup as copy

    cases = copy(archive, to)
    values = {"archive": str(archive), "backup": str(to), "cases": cases}
    say(values, f"{to}: {cases:,} cases", as_json=as_json)
