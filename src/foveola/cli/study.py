"""foveola study."""

import csv
import io
from pathlib import Path

import click

from foveola.cli.output import archive_argument, json_option, one_line_errors, print_json, say
from foveola.resources import beside


@click.group(epilog="Example: foveola study new archive/ study/ --queries 20")
def study() -> None:
    """Ask readers how alike cases are, blinded, with random controls among the hits."""


@study.command(epilog="Example: foveola study new archive/ study/ --queries 20 --controls 0.25")
@archive_argument
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--queries",
    default=20,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Cases asked about, each of another person.",
)
@click.option("--shown", default=4, show_default=True, type=click.IntRange(1, 100), help="Cases shown beside each.")
@click.option(
    "--controls",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of these that are drawn at random.",
)
@click.option("--seed", default=0, show_default=True, help="Decides what is drawn, and the orders.")
@click.option("--where", help="Condition on the cases asked about.")
@json_option
@one_line_errors
def new(
    archive: Path, folder: Path, queries: int, shown: int, controls: float, seed: int, where: str | None, as_json: bool
) -> None:
    """Draw a study from ARCHIVE into FOLDER."""
    from foveola.archive import Archive
    from foveola.server.study import new_study

    with Archive.open(archive, read_only=True) as opened:
        made = new_study(opened, folder, queries=queries, shown=shown, controls=controls, seed=seed, where=where)
    drawn = sum(item.condition == "control" for item in made.items)
    say(
        {"study": str(folder), "pairs": len(made.items), "controls": drawn},
        f"{folder}: {len(made.items):,} pairs, {drawn:,} of them controls; show them with: "
        f"foveola serve {archive} --study {folder}",
        as_json=as_json,
    )


@study.command(epilog="Example: foveola study export study/ --out answers.csv")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write; without, the table is printed."
)
@json_option
@one_line_errors
def export(folder: Path, out: Path | None, as_json: bool) -> None:
    """Write the answers as CSV for multi-reader multi-case analysis."""
    from foveola.server.study import open_study, to_csv

    text = to_csv(open_study(folder))
    rows = list(csv.DictReader(io.StringIO(text)))
    if out is not None:
        with beside(out) as partial:
            partial.write_text(text, encoding="utf-8")
            partial.replace(out)
        click.echo(f"{out}: {len(rows):,} answers", err=True)
    if as_json:
        print_json(rows if out is None else {"written": str(out), "answers": len(rows)})
    elif out is None:
        click.echo(text, nl=False)
