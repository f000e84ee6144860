"""foveola index, remove, info."""

from dataclasses import replace
from pathlib import Path

import click

from foveola.cli.dicom import DicomFolder, Sources, dicom_folders, index_dicom
from foveola.cli.learn import say_learned
from foveola.cli.output import (
    PARTLY,
    failed_json,
    json_option,
    list_failed,
    one_line_errors,
    print_json,
    progress,
    read_cases,
    say_doubtful,
)


@click.command(epilog="Example: foveola index archive/ photographs/labels.csv")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=Sources())
@click.option("--encoder", help="Name or folder of the encoder; only for a new archive.")
@click.option("--collection", default="", help="Name space of the subjects, e.g. the data set.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Of dicom://: for the de-identified files; ARCHIVE with .pacs added.",
)
@click.option(
    "--pseudonyms",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of dicom://: file that knows who is who; by default there, too.",
)
@click.option("--regions", is_flag=True, help="Keep places for search --region; once is enough.")
@json_option
@click.pass_context
@one_line_errors
def index(
    ctx: click.Context,
    archive: Path,
    sources: tuple[Path | DicomFolder, ...],
    encoder: str | None,
    collection: str,
    folder: Path | None,
    pseudonyms: Path | None,
    regions: bool,
    as_json: bool,
) -> None:
    """Put photographs into ARCHIVE, making it if it does not exist.

    SOURCES are manifests (CSV, TSV, Parquet), folders of photographs, or photographs, and
    dicom://FOLDER for a folder of DICOM images, which are de-identified on the way in. Run it
    again at any time: files that are there already are not encoded twice, changed labels are
    brought up to date, and an interrupted run goes on where it stopped.
    """
    if folders := dicom_folders(sources):
        index_dicom(
            ctx, archive, folders, (folder, pseudonyms), encoder=encoder, collection=collection, as_json=as_json
        )
        return
    from foveola.images.folders import PassedOver
    from foveola.indexing import index_cases, open_archive

    passed = PassedOver()
    files = [source for source in sources if isinstance(source, Path)]
    cases = read_cases(files, collection, passed)
    opened, own = open_archive(archive, encoder)
    with opened:
        from foveola.encoders.encoder import Encoder

        with progress("indexing", len(cases)) as advance:
            done = index_cases(opened, Encoder.load(own), cases, advance)
        total = len(opened)
    _keep_places(archive, regions, total)
    if as_json:
        print_json(
            {
                "archive": str(archive),
                "cases": total,
                "added": done.added,
                "unchanged": done.unchanged,
                "relabelled": done.relabelled,
                "learnt": [] if done.learned is None else list(done.learned.labels),
                "failed": failed_json(done.failed),
                "passed_over": passed.as_json(),
                "may_not_be_gradable": [
                    {"image": item.case.image, "gradability": round(item.gradability, 4)} for item in done.doubtful
                ],
                "no_retina": [item.case.image for item in done.doubtful if item.foreign],
            }
        )
    else:
        click.echo(
            f"{archive}: {total} cases; {done.added} added, {done.unchanged} there already, "
            f"{done.relabelled} relabelled, {len(done.failed)} could not be used"
        )
        if done.learned is not None:
            say_learned(done.learned)
    list_failed(done.failed)
    foreign = sum(item.foreign for item in done.doubtful)
    say_doubtful(len(done.doubtful) - foreign, done.added, " (--json names them)")
    if foreign:
        click.echo(
            f"{foreign} of the {done.added} added do not look like colour photographs of the "
            "retina (--json names them); foveola remove takes them out",
            err=True,
        )
    if done.failed:
        ctx.exit(PARTLY)


def _keep_places(archive: Path, wanted: bool, total: int) -> None:
    """Describe the places of what was added, where they are wanted or kept already."""
    from foveola.regions import is_on, switch_on

    if wanted or is_on(archive):
        with progress("describing places", total) as advance:
            switch_on(archive, advance)


@click.command(epilog="Example: foveola remove archive/ --subject 1042")
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
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
@click.argument("archive", type=click.Path(file_okay=False, path_type=Path))
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
