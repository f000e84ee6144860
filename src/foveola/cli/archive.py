"""foveola info, remove, forget, backup, regions: what is in an archive, and what goes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import (
    PARTLY,
    archive_argument,
    existing_archive,
    failed_json,
    json_option,
    list_failed,
    one_line_errors,
    print_json,
    progress,
    say,
)

if TYPE_CHECKING:
    from foveola.regions import Kept


@click.command(epilog="Example: foveola remove archive/ --subject 1042")
@archive_argument
@click.option("--image", help="Name or path of one image.")
@click.option("--subject", help="Pseudonym of a subject, all of whose images go.")
@click.option("--collection", help="Name space of the image or subject.")
@json_option
@one_line_errors
def remove(archive: Path, image: str | None, subject: str | None, collection: str | None, as_json: bool) -> None:
    """Take one image, or all images of a subject, out of ARCHIVE.

    The photographs themselves are not touched, but for those that the archive keeps itself
    because they were sent to its service.
    """
    from foveola.server.maintenance import remove_cases

    if (image is None) == (subject is None):
        raise click.UsageError("give either --image or --subject")
    removed = remove_cases(archive, image=image, subject=subject, collection=collection, learn=True)
    if as_json:
        print_json({"archive": str(archive), "removed": removed})
    else:
        click.echo(f"{archive}: {removed} removed")


@click.command(epilog="Example: foveola info archive/ --json")
@archive_argument
@json_option
@one_line_errors
def info(archive: Path, as_json: bool) -> None:
    """Say what ARCHIVE holds and which encoder made it."""
    from foveola.archive import Archive
    from foveola.learned import advice, load_learned

    with Archive.open(archive, read_only=True) as opened:
        learned = load_learned(opened)
        found = replace(opened.info(), learned=tuple(learned.labels if learned else ()))
        advised = advice(opened)
    if as_json:
        print_json(found)
        return
    for key, value in found.to_dict().items():
        text = value
        if isinstance(value, dict):
            text = ", ".join(f"{name} {count}" for name, count in value.items())
        elif isinstance(value, list):
            text = ", ".join(value)
        click.echo(f"{key.replace('_', ' '):16} {text}")
    for line in advised:
        click.echo(line, err=True)


@click.command(epilog="Example: foveola forget archive/ 1042 > receipt.json")
@existing_archive
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
    from foveola.server.maintenance.remove import forget as remove

    if not yes:
        which = "with its photographs, " if files else ""
        click.confirm(f"Forget this subject, {which}for good?", abort=True, err=True)
    print_json(remove(archive, subject, collection, files=files))


@click.command(epilog="Example: foveola backup archive/ /backups/archive-2026-03-01")
@existing_archive
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


@click.group(epilog="Example: foveola regions on archive/")
def regions() -> None:
    """Let an archive be searched for cases like one place of a photograph, or no longer."""


@regions.command(epilog="Example: foveola regions on archive/")
@existing_archive
@json_option
@click.pass_context
@one_line_errors
def on(ctx: click.Context, archive: Path, as_json: bool) -> None:
    """Describe the places of ARCHIVE's photographs, some 13 KB each, for `search --region`."""
    from foveola.regions import switch_on

    with progress("describing places", _count_cases(archive)) as advance:
        _say_places(ctx, archive, switch_on(archive, advance), as_json)


@regions.command(epilog="Example: foveola regions update archive/")
@existing_archive
@json_option
@click.pass_context
@one_line_errors
def update(ctx: click.Context, archive: Path, as_json: bool) -> None:
    """Describe what was added to ARCHIVE since, and forget what was removed."""
    from foveola.regions import update as bring

    with progress("describing places", _count_cases(archive)) as advance:
        _say_places(ctx, archive, bring(archive, advance), as_json)


@regions.command(epilog="Example: foveola regions off archive/")
@existing_archive
@json_option
@one_line_errors
def off(archive: Path, as_json: bool) -> None:
    """Delete what ARCHIVE keeps of places. The archive and its photographs stay."""
    from foveola.regions import switch_off

    _count_cases(archive)  # nothing is deleted where there is no archive
    switch_off(archive)
    values = {"archive": str(archive), "regions": False}
    say(values, f"{archive}: regions are off", as_json=as_json)


def _count_cases(archive: Path) -> int:
    from foveola.archive import Archive

    with Archive.open(archive, read_only=True) as opened:
        return len(opened)


def _say_places(ctx: click.Context, archive: Path, kept: "Kept", as_json: bool) -> None:
    values = {"archive": str(archive), "regions": True, **kept._asdict()}
    megabytes = kept.cases * kept.bytes_each / 1e6
    say(
        {**values, "failed": failed_json(kept.failed)},
        f"{archive}: places of {kept.cases:,} photographs are kept ({megabytes:,.1f} MB); "
        f"{kept.added:,} described now, {kept.removed:,} forgotten, {len(kept.failed)} could not "
        "be used",
        as_json=as_json,
    )
    list_failed(kept.failed)
    if kept.failed:
        ctx.exit(PARTLY)
