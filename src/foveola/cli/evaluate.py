"""foveola evaluate."""

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
)

if TYPE_CHECKING:
    from foveola.assess import Assessment
    from foveola.evaluation import Exclude


@click.command(epilog="Example: foveola evaluate archive/ --queries new.csv --label grade --json")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--queries",
    type=click.Path(exists=True, path_type=Path),
    help="Manifest or folder of queries; without it every case asks the others.",
)
@click.option(
    "--label",
    default="grade",
    show_default=True,
    help="What makes two cases alike: grade, findings or a further column.",
)
@click.option(
    "-k",
    "ks",
    multiple=True,
    type=click.IntRange(1, 10_000),
    default=(1, 5, 10, 20, 50),
    show_default=True,
    help="Rank; may be repeated.",
)
@click.option("--collection", default="", help="Name space of the queries' subjects.")
@click.option(
    "--exclude",
    type=click.Choice(["subject", "eye", "visit", "none"]),
    default="subject",
    show_default=True,
    help="What of the query's own subject is left out of its ranking.",
)
@click.option("--by", multiple=True, help="Column to split the result by; may be repeated.")
@click.option(
    "--against",
    type=click.Path(file_okay=False, path_type=Path),
    help="Archive of the same photographs by another encoder; prints what it reaches beyond.",
)
@click.option(
    "--bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(0, 100_000),
    help="Resamples of the subjects for the intervals; 0 for none.",
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report to this file."
)
@json_option
@click.pass_context
@one_line_errors
def evaluate(
    ctx: click.Context,
    archive: Path,
    queries: Path | None,
    label: str,
    ks: tuple[int, ...],
    collection: str,
    exclude: "Exclude",
    by: tuple[str, ...],
    against: Path | None,
    bootstrap: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Measure how well ARCHIVE finds cases with the same label.

    Prints precision, average precision, nDCG and others over all queries (micro), as the mean
    over label values (macro) and for each value, with intervals and the level that chance
    reaches. A query's own subject is left out of its ranking unless --exclude says otherwise.
    """
    from foveola.assess import assess, contrast

    asked = None if queries is None else read_cases([queries], collection)

    def judge(folder: Path) -> "Assessment":
        with progress("encoding queries", len(asked or ())) as advance:
            return assess(
                folder, asked, label=label, ks=ks, exclude=exclude, by=by,
                bootstrap=bootstrap, progress=advance,
            )  # fmt: skip

    done = judge(archive)
    beyond = contrast(done, judge(against)) if against is not None else None
    if html is not None:
        from foveola.report import evaluation_page, write_page

        write_page(html, evaluation_page(done.evaluation, phantom=done.phantom))
    if as_json:
        found = {**done.evaluation.to_json(), "failed": failed_json(done.failed)}
        print_json(found | ({"difference": beyond.to_json()} if beyond else {}))
    else:
        click.echo(done.evaluation.to_text())
        if beyond:
            click.echo(f"\n{against} beyond {archive}: {beyond.to_text()}")
    list_failed(done.failed)
    if done.failed:
        ctx.exit(PARTLY)
