"""foveola evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from foveola.cli.output import (
    PARTLY,
    archive_argument,
    bootstrap_option,
    failed_json,
    json_option,
    list_failed,
    one_line_errors,
    print_json,
    progress,
    read_cases,
)

if TYPE_CHECKING:
    from foveola.assessment import Assessment
    from foveola.datasets.splits import SplitFiles
    from foveola.metrics import Exclude
    from foveola.metrics.plots import Method


@click.command(epilog="Example: foveola evaluate archive/ --queries new.csv --label grade --json")
@archive_argument
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
@bootstrap_option
@click.option(
    "--split-files",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of train.txt, val.txt and test.txt: test asks, train and val are ranked.",
)
@click.option(
    "--split",
    type=click.Choice(["author", "subject"]),
    default="author",
    show_default=True,
    help="Those files as they are, ranking fellow eyes too, or the same images split by subject.",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report to this file.")
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write figures into this folder: precision, what was found, subjects, a map.",
)
@click.option(
    "--map",
    "method",
    type=click.Choice(["pca", "tsne"]),
    default="pca",
    show_default=True,
    help="How the figures' map of the archive is made.",
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
    split_files: Path | None,
    split: str,
    html: Path | None,
    plots: Path | None,
    method: "Method",
    as_json: bool,
) -> None:
    """Measure how well ARCHIVE finds cases with the same label.

    Prints precision, average precision, nDCG and others over all queries (micro), as the mean
    over label values (macro) and for each value, with intervals and the level that chance
    reaches. A query's own subject is left out of its ranking unless --exclude says otherwise.
    Everything is said twice: for the order by looks, and for the order that the archive learns from
    its labels, with the difference query by query. What answers a query never learnt from the
    query's own person.

    With --split-files the archive is split as published: image by image, nothing left out. Most
    queries then have their fellow eye in the gallery; --split subject keeps people apart.
    """
    from foveola.assessment import assess, contrast

    _check_options(ctx, queries)
    if plots is not None:
        _check_drawing(method)
    parted = None if split_files is None else _parted(split_files, split)
    if parted is not None:
        exclude = "none" if split == "author" else "subject"
    asked = None if queries is None else read_cases([queries], collection)

    def judge(folder: Path) -> "Assessment":
        with progress("encoding queries", len(asked or ())) as advance:
            return assess(
                folder,
                asked,
                split=parted,
                label=label,
                ks=ks,
                exclude=exclude,
                by=by,
                bootstrap=bootstrap,
                progress=advance,
            )

    done = judge(archive)
    other = judge(against) if against is not None else None
    beyond = contrast(done, other) if other is not None else None
    known = _known(done)
    if html is not None:
        from foveola.report import evaluation_page, write_page

        page = evaluation_page(done.evaluation, learned=done.learned, phantom=done.phantom, warning=known)
        write_page(html, page)
    if plots is not None:
        _plot(plots, method, done, archive, other, against)
    if as_json:
        found = {**done.evaluation.to_dict(), "failed": failed_json(done.failed)}
        found["trained_on"] = None if done.trained is None else done.trained._asdict()
        found["learned"] = None if done.learned is None else done.learned.to_dict()
        found["gain"] = None if done.gain is None else done.gain.to_dict()
        found["not_learned"] = done.refused
        found |= {"difference": beyond.to_dict()} if beyond else {}
        print_json(found | (_split_json(parted, split, done) if parted else {}))
    else:
        click.echo(f"By looks\n\n{done.evaluation.to_text()}")
        if done.learned is not None and done.gain is not None:
            click.echo(f"\nLearned from the labels\n\n{done.learned.to_text()}")
            click.echo(f"\nLearned beyond looks\n\n{done.gain.to_text()}")
        if beyond:
            click.echo(f"\n{against} beyond {archive}: {beyond.to_text()}")
    if done.refused:
        click.echo(f"judged by looks alone: {done.refused}", err=True)
    if known:
        click.echo(f"warning: {known}", err=True)
    if done.left_out:
        click.echo(f"{done.left_out:,} cases of the archive are in no split file", err=True)
    list_failed(done.failed)
    if done.failed:
        ctx.exit(PARTLY)


def _known(done: "Assessment") -> str:
    """A sentence where the encoder knows the answers; "" elsewhere."""
    trained = done.trained
    if trained is None or not trained.queries:
        return ""
    share = 100 * trained.queries / trained.asked
    return (
        f"the encoder was trained on {trained.queries:,} of the {trained.asked:,} photographs that "
        f"ask ({share:.0f} %); of new ones it finds less"
    )


def _check_options(ctx: click.Context, queries: Path | None) -> None:
    """Refuse what would be ignored."""
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if ctx.params["split_files"] is None:
        if "split" in given:
            raise click.UsageError("--split needs --split-files")
    elif queries is not None or "exclude" in given:
        raise click.UsageError(
            "--split-files says what is asked, and --split what is left out; give neither --queries nor --exclude"
        )
    if "method" in given and ctx.params["plots"] is None:
        raise click.UsageError("--map needs --plots")


def _check_drawing(method: "Method") -> None:
    from foveola.metrics.drawing import check_matplotlib
    from foveola.metrics.plots import check_tsne

    check_matplotlib()
    if method == "tsne":
        check_tsne()


def _parted(folder: Path, split: str) -> "SplitFiles":
    """The split, with a warning where people are on both sides."""
    from foveola.datasets.splits import QUERIES, SplitFiles

    files = SplitFiles.read(folder)
    if split == "subject":
        return files.by_subject()
    shared, asked = files.on_both_sides(), len(files.of(QUERIES))
    if shared:
        click.echo(
            f"warning: {shared:,} of {asked:,} queries ({100 * shared / asked:.0f} %) have an "
            "image of the same subject in the gallery, mostly the fellow eye, and it is ranked; "
            "--split subject keeps people apart",
            err=True,
        )
    return files


def _split_json(parted: "SplitFiles", split: str, done: "Assessment") -> dict[str, object]:
    return {
        "split": {
            "protocol": split,
            "queries_with_subject_in_gallery": parted.on_both_sides(),
            "cases_in_no_file": done.left_out,
        }
    }


def _plot(
    folder: Path, method: "Method", done: "Assessment", archive: Path, other: "Assessment | None", against: Path | None
) -> None:
    from foveola.metrics.plots import write_plots

    evaluations = {archive.name: done.evaluation}
    if other is not None and against is not None:
        alike = archive.name == against.name
        evaluations = {str(archive) if alike else archive.name: done.evaluation}
        evaluations[str(against) if alike else against.name] = other.evaluation
    note = "phantom photographs, not patients" if done.phantom else ""
    written = write_plots(folder, evaluations, done.gallery, method=method, note=note)
    click.echo(f"figures: {', '.join(str(path) for path in written)}", err=True)
