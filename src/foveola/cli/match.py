"""foveola match, matching, audit, identify, risk: whose eye a photograph shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from foveola.cli.output import (
    PARTLY,
    archive_argument,
    bootstrap_option,
    existing_archive,
    failed_json,
    json_option,
    list_failed,
    one_line_errors,
    print_json,
    progress,
    read_cases,
    say,
    show,
)

if TYPE_CHECKING:
    from foveola.matching.evaluation import Unit
    from foveola.matching.permission import Permission
    from foveola.matching.saved_audit import Verdict


@click.command(epilog="Example: foveola match archive/ follow-up.jpg --html match.html")
@archive_argument
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
    from foveola.answers import local_case
    from foveola.archive import Archive
    from foveola.datasets.cells import visit_of
    from foveola.matching.match import Matcher, answer, to_page, to_text

    with Matcher.open(archive) as matcher:
        result = matcher.match(image, candidates=candidates, visit=visit_of(visit), prior=prior)
    with Archive.open(archive, read_only=True) as opened:
        found = answer(result, opened, local_case)
    show(found, lambda: click.echo(to_text(result)), lambda: to_page(result), html, as_json=as_json)


@click.group(epilog='Example: foveola matching on archive/ --purpose "duplicate check"')
def matching() -> None:
    """Allow matching subjects in an archive, forbid it, and see who used it."""


@matching.command(epilog='Example: foveola matching on archive/ --purpose "duplicate check of registry R"')
@existing_archive
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
@existing_archive
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
    from foveola.matching.pair import CALIBRATION

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
@existing_archive
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
@existing_archive
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


@click.command(epilog="Example: foveola audit archive/ --html worklist.html")
@archive_argument
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the worklist with pictures to this file."
)
@click.option(
    "--show", "shown", default=20, show_default=True, type=click.IntRange(0), help="Findings of each kind to print."
)
@click.option("--no-labels", is_flag=True, help="Leave grades and findings unjudged.")
@click.option(
    "--decide",
    nargs=2,
    metavar="KEY wrong|right|unsure|open",
    help="Record a decision on a finding instead; 'open' raises it again.",
)
@click.option("--note", default="", help="A sentence for that decision; no names.")
@json_option
@click.pass_context
@one_line_errors
def audit(
    ctx: click.Context,
    archive: Path,
    html: Path | None,
    shown: int,
    no_labels: bool,
    decide: "tuple[str, Verdict] | None",
    note: str,
    as_json: bool,
) -> None:
    """List what is probably filed wrong in ARCHIVE, the surest first.

    One eye under two subjects, two eyes under one id, left filed as right, copies, subjects in two
    splits, labels that the most similar cases speak against. Nothing is changed. Needs
    `foveola matching on`, and is logged.
    """
    if decide is not None:
        _decide(archive, decide, note, as_json)
        return
    from foveola.archive import Archive
    from foveola.matching.worklist import audit_archive, to_dict, to_page, to_text

    with Archive.open(archive, read_only=True) as opened:
        count = len(opened)
    with progress("looking", 2 * count) as advance:
        work = audit_archive(archive, labels=not no_labels, progress=advance)
    show(to_dict(work), lambda: click.echo(to_text(work, shown)), lambda: to_page(work), html, as_json=as_json)
    list_failed(work.failed)
    if work.failed:
        ctx.exit(PARTLY)


def _decide(archive: Path, decision: "tuple[str, Verdict]", note: str, as_json: bool) -> None:
    from foveola.archive import Archive
    from foveola.matching.permission import permission
    from foveola.matching.saved_audit import decide

    Archive.open(archive, read_only=True).close()
    permission(archive)
    made = decide(archive, *decision, note)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made.key}: {made.verdict}")


@click.command(epilog="Example: foveola identify archive/ --identity eye --unit months")
@archive_argument
@click.option(
    "--identity",
    type=click.Choice(["eye", "subject"]),
    default="eye",
    show_default=True,
    help="What is to be found again.",
)
@click.option(
    "--gallery",
    type=click.Choice(["first", "others"]),
    default="first",
    show_default=True,
    help="Rank the first visit of each identity, as published, or all other photographs.",
)
@click.option("--time", default="visit", show_default=True, help="Column that says when a photograph was taken.")
@click.option(
    "--unit",
    type=click.Choice(["days", "months", "years"]),
    default="months",
    show_default=True,
    help="Of that column's numbers and of --edge.",
)
@click.option(
    "--edge", "edges", multiple=True, type=float, help="End of a time range; may be repeated. Without, whole years."
)
@bootstrap_option
@json_option
@one_line_errors
def identify(
    archive: Path,
    identity: 'Literal["eye", "subject"]',
    gallery: 'Literal["first", "others"]',
    time: str,
    unit: "Unit",
    edges: tuple[float, ...],
    bootstrap: int,
    as_json: bool,
) -> None:
    """Measure how well ARCHIVE's descriptors find subjects again after some time.

    The published protocol of forensic matching: mAP, mAP@R, plain rank-1 and the paper's CMC by the
    time that has passed, verification (AUC, EER), and saying "no match". It names no subject.
    """
    from foveola.matching import Protocol, evaluate_matching
    from foveola.matching.risk import read_archive

    try:
        protocol = Protocol(identity=identity, gallery=gallery, time=time, unit=unit, edges=edges)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    descriptors, cases, _ = read_archive(archive)
    found = evaluate_matching(descriptors, cases, protocol, bootstrap=bootstrap)
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(found.to_text())


@click.command(epilog="Example: foveola risk archive/")
@archive_argument
@bootstrap_option
@json_option
@one_line_errors
def risk(archive: Path, bootstrap: int, as_json: bool) -> None:
    """Say how far ARCHIVE's descriptors tell who someone is.

    Whoever holds a photograph of a person, and these descriptors without names, would find that
    person at this rate. Look at it before descriptors leave the house.
    """
    from foveola.matching.risk import risk as measure

    found = measure(archive, bootstrap=bootstrap)
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(found.to_text())
