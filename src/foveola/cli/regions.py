"""foveola regions: keep what the encoder sees at each place of an archive's photographs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import PARTLY, list_failed, one_line_errors, progress

if TYPE_CHECKING:
    from foveola.regions import Kept

folder = click.Path(file_okay=False, exists=True, path_type=Path)


@click.group(epilog="Example: foveola regions on archive/")
def regions() -> None:
    """Let an archive be searched for cases like one place of a photograph, or no longer."""


@regions.command(epilog="Example: foveola regions on archive/")
@click.argument("archive", type=folder)
@click.pass_context
@one_line_errors
def on(ctx: click.Context, archive: Path) -> None:
    """Describe the places of ARCHIVE's photographs, some 13 KB each, for `search --region`."""
    from foveola.regions import switch_on

    with progress("describing places", _count(archive)) as advance:
        _say(ctx, archive, switch_on(archive, advance))


@regions.command(epilog="Example: foveola regions update archive/")
@click.argument("archive", type=folder)
@click.pass_context
@one_line_errors
def update(ctx: click.Context, archive: Path) -> None:
    """Describe what was added to ARCHIVE since, and forget what was removed."""
    from foveola.regions import update as bring

    with progress("describing places", _count(archive)) as advance:
        _say(ctx, archive, bring(archive, advance))


@regions.command(epilog="Example: foveola regions off archive/")
@click.argument("archive", type=folder)
@one_line_errors
def off(archive: Path) -> None:
    """Delete what ARCHIVE keeps of places. The archive and its photographs stay."""
    from foveola.regions import switch_off

    _count(archive)  # nothing is deleted where there is no archive
    switch_off(archive)
    click.echo(f"{archive}: regions are off")


def _count(archive: Path) -> int:
    from foveola.archive import Archive

    with Archive.open(archive, read_only=True) as opened:
        return len(opened)


def _say(ctx: click.Context, archive: Path, kept: "Kept") -> None:
    megabytes = kept.cases * kept.bytes_each / 1e6
    click.echo(
        f"{archive}: places of {kept.cases:,} photographs are kept ({megabytes:,.1f} MB); "
        f"{kept.added:,} described now, {kept.removed:,} forgotten, {len(kept.failed)} could not "
        "be used"
    )
    list_failed(kept.failed)
    if kept.failed:
        ctx.exit(PARTLY)
