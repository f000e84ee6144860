"""foveola identify, risk."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from foveola.cli.output import json_option, one_line_errors, print_json

if TYPE_CHECKING:
    from foveola.matching.evaluation import Unit


@click.command(epilog="Example: foveola identify archive/ --identity eye --unit months")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
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
@click.option(
    "--bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Resamples of the subjects for the intervals; 0 for none.",
)
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
        print_json(found.to_json())
    else:
        click.echo(found.to_text())


@click.command(epilog="Example: foveola risk archive/")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Resamples of the subjects for the intervals; 0 for none.",
)
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
        print_json(found.to_json())
    else:
        click.echo(found.to_text())
