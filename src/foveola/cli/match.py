"""foveola match, matching."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import (
    PARTLY,
    failed_json,
    json_option,
    list_failed,
    one_line_errors,
    print_json,
    progress,
    read_cases,
    say,
)

if TYPE_CHECKING:  # loaded where it is used: `foveola --help` stays fast
    from foveola.matching.permission import Permission


@click.command(epilog="Example: foveola match archive/ follow-up.jpg --html match.html")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--candidates",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Photographs that are compared closely.",
)
@click.option("--visit", help="When the query was taken: months, or a date, as the archive has it.")
@click.option(
    "--prior",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Chance, before looking, that the archive holds another photograph of this eye.",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report to this file.")
@json_option
@one_line_errors
def match(
    archive: Path, image: Path, candidates: int, visit: str | None, prior: float, html: Path | None, as_json: bool
) -> None:
    """Find photographs in ARCHIVE that show the same eye as IMAGE, or say that none does.

    Identity is sensitive: matching is off until `foveola matching on` allows it, and every use
    is logged in the archive.
    """
    from foveola.datasets.cells import visit_of
    from foveola.matching.match import Matcher, to_json, to_page, to_text

    with Matcher.open(archive) as matcher:
        result = matcher.match(image, candidates=candidates, visit=visit_of(visit), prior=prior)
    if html is not None:
        from foveola.report import write_page

        write_page(html, to_page(result))
    if as_json:
        print_json(to_json(result))
    else:
        click.echo(to_text(result))
    if html is not None:
        click.echo(f"report: {html}", err=True)


@click.group(epilog='Example: foveola matching on archive/ --purpose "duplicate check"')
def matching() -> None:
    """Allow matching subjects in an archive, forbid it, and see who used it."""


@matching.command(epilog='Example: foveola matching on archive/ --purpose "duplicate check of registry R"')
@click.argument("archive", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--purpose", required=True, help="What subjects are matched for, in a sentence.")
@click.option("--encoder", default="", help="Another matching encoder than the shipped one.")
@json_option
@click.pass_context
@one_line_errors
def on(ctx: click.Context, archive: Path, purpose: str, encoder: str, as_json: bool) -> None:
    """Allow matching in ARCHIVE, and describe its photographs for it."""
    from foveola.archive import Archive
    from foveola.matching import permission

    Archive.open(archive, read_only=True).close()  # nothing is switched on where there is none
    allowed = permission.switch_on(archive, purpose, encoder)
    _describe(ctx, archive, allowed, "matching is on; ", as_json=as_json)


@matching.command(epilog="Example: foveola matching update archive/")
@click.argument("archive", type=click.Path(file_okay=False, exists=True, path_type=Path))
@json_option
@click.pass_context
@one_line_errors
def update(ctx: click.Context, archive: Path, as_json: bool) -> None:
    """Describe what was added to ARCHIVE since, and drop what was removed."""
    from foveola.matching import permission

    _describe(ctx, archive, permission.permission(archive), as_json=as_json)


@matching.command(epilog="Example: foveola matching calibrate runs/mine/encoder photographs/labels.csv")
@click.argument("encoder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--hard",
    default=1000,
    show_default=True,
    type=click.IntRange(0),
    help="Photographs of which a hard second visit is made.",
)
@click.option(
    "--impostors",
    default=50_000,
    show_default=True,
    type=click.IntRange(100),
    help="Pairs of two eyes; they bound how much evidence can ever say.",
)
@json_option
@one_line_errors
def calibrate(encoder: Path, sources: tuple[Path, ...], hard: int, impostors: int, as_json: bool) -> None:
    """Learn what the evidence of ENCODER is worth, from photographs of known eyes.

    Writes calibration.json and laterality.json into the encoder's folder. SOURCES are manifests
    with the columns subject and eye, of people that the encoder was not trained on.
    """
    from foveola.encoders.encoder import Encoder
    from foveola.encoders.release import add_parts
    from foveola.laterality import LATERALITY
    from foveola.matching.calibrate import calibrate as fit
    from foveola.matching.calibrate import learn_sides
    from foveola.matching.probability import CALIBRATION

    cases = [case for source in sources for case in read_cases([source], _collection(source))]
    loaded = Encoder.load(encoder)
    with progress("comparing", len(cases) + impostors // 1000) as advance:
        made = fit(loaded, cases, hard=hard, impostors=impostors, progress=advance)
    sides = learn_sides(loaded, cases)
    made.save(encoder / CALIBRATION)
    sides.save(encoder / LATERALITY)
    add_parts(encoder, CALIBRATION, LATERALITY)
    say(
        {
            "encoder": str(encoder),
            "pairs": {"one eye": made.pairs[0], "two eyes": made.pairs[1]},
            "photographs": sides.photographs,
            "written": [CALIBRATION, LATERALITY],
        },
        f"{encoder}: {made.pairs[0]:,} pairs of one eye, {made.pairs[1]:,} of two; sides of "
        f"{sides.photographs:,} photographs",
        as_json=as_json,
    )


def _collection(source: Path) -> str:
    """The folder's name: pseudonyms of two data sets are not the same people."""
    return source.name if source.is_dir() else source.absolute().parent.name


@matching.command(epilog="Example: foveola matching off archive/")
@click.argument("archive", type=click.Path(file_okay=False, exists=True, path_type=Path))
@json_option
@one_line_errors
def off(archive: Path, as_json: bool) -> None:
    """Forbid matching in ARCHIVE, and delete what it was described by. The log stays."""
    from foveola.matching import gallery, permission

    permission.switch_off(archive)
    gallery.discard(archive)
    values = {"archive": str(archive), "matching": False}
    say(values, f"{archive}: matching is off", as_json=as_json)


@matching.command(epilog="Example: foveola matching log archive/ --json")
@click.argument("archive", type=click.Path(file_okay=False, exists=True, path_type=Path))
@json_option
@one_line_errors
def log(archive: Path, as_json: bool) -> None:
    """List every use of matching in ARCHIVE, oldest first."""
    from foveola.matching.permission import read_log

    uses = read_log(archive)
    if as_json:
        print_json(uses)
        return
    for use in uses:
        facts = ", ".join(f"{k} {v}" for k, v in use.items() if k not in ("time", "account", "action"))
        click.echo(f"{use.get('time')}  {use.get('account')}  {use.get('action')}  {facts}")


def _describe(ctx: click.Context, archive: Path, allowed: "Permission", said: str = "", *, as_json: bool) -> None:
    """Describe what is not yet described, and say how many photographs are."""
    from foveola.archive import Archive
    from foveola.matching import gallery

    with Archive.open(archive, read_only=True) as opened:
        count = len(opened)
    with progress("describing", count) as advance:
        failed = gallery.update(archive, allowed, advance)
    described = count - len(failed)
    say(
        {"archive": str(archive), "matching": True, "described": described, "failed": failed_json(failed)},
        f"{archive}: {said}{described:,} photographs described",
        as_json=as_json,
    )
    list_failed(failed)
    if failed:
        ctx.exit(PARTLY)
