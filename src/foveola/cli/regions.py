"""foveola regions: keep what the encoder sees at each place of an archive's photographs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import PARTLY, failed_json, json_option, list_failed, one_line_errors, progress, say

if TYPE_CHECKING:
    from foveola.regions import Kept

folder = click.Path(file_okay=False, exists=True, path_type=Path)


@click.group(epilog="Example: foveola regions on archive/")
def regions() -> None:
    """Let an archive be searched for cases like one place of a photograph, or no longer."""


@regions.command(epilog="Example: foveola regions on archive/")
@click.argument("archive", type=folder)
@json_option
@click.pass_context
@one_line_errors
def on(ctx: click.Context, archive: Path, as_json: bool) -> None:
    """Describe the places of ARCHIVE's photographs, some 13 KB each, for `search --region`."""
    from foveola.regions import switch_on

    with progress("describing places", _count(archive)) as advance:
        _say(ctx, archive, switch_on(archive, advance), as_json)


@regions.command(epilog="Example: foveola regions update archive/")
@click.argument("archive", type=folder)
@json_option
@click.pass_context
@one_line_errors
def update(ctx: click.Context, archive: Path, as_json: bool) -> None:
    """Describe what was added to ARCHIVE since, and forget what was removed."""
    from foveola.regions import update as bring

    with progress("describing places", _count(archive)) as advance:
        _say(ctx, archive, bring(archive, advance), as_json)


@regions.command(epilog="Example: foveola regions off archive/")
@click.argument("archive", type=folder)
@json_option
@one_line_errors
def off(archive: Path, as_json: bool) -> None:
    """Delete what ARCHIVE keeps of places. The archive and its photographs stay."""
    from foveola.regions import switch_off

    _count(archive)  # nothing is deleted where there is no archive
    switch_off(archive)
    values = {"archive": str(archive), "regions": False}
    say(values, f"{archive}: regions are off", as_json=as_json)


def _count(archive: Path) -> int:
    from foveola.archive import Archive

    with Archive.open(archive, read_only=True) as opened:
        return len(opened)


def _say(ctx: click.Context, archive: Path, kept: "Kept", as_json: bool) -> None:
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
