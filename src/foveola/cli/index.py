"""foveola index, learn: photographs into an archive, and what it learns of their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foveola.cli.output import (
    LISTED,
    PARTLY,
    archive_argument,
    doubtful,
    failed_json,
    json_option,
    list_failed,
    one_line_errors,
    print_json,
    progress,
    read_cases,
    say_doubtful,
    say_passed_over,
)
from foveola.errors import ImageError

if TYPE_CHECKING:
    from foveola.learned import Learned


SCHEME = "dicom://"


class DicomFolder:
    """Hold a folder that was named with dicom://."""

    def __init__(self, path: Path) -> None:
        self.path = path


class Sources(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """Take a path that exists, or dicom:// and a folder."""

    name = "path"
    _path = click.Path(exists=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | DicomFolder:
        """Return the path, or the folder after the scheme."""
        if isinstance(value, str) and value.startswith(SCHEME):
            return DicomFolder(Path(value.removeprefix(SCHEME)))
        return Path(str(self._path.convert(value, param, ctx)))


def dicom_folders(sources: Sequence[Path | DicomFolder]) -> list[Path]:
    """Return the folders of DICOM images, none where photographs are named.

    Raises:
        ImageError: a DICOM file is named as a photograph.
        click.UsageError: both are named.
    """
    folders = [source.path for source in sources if isinstance(source, DicomFolder)]
    files = [source for source in sources if isinstance(source, Path)]
    if folders and files:
        raise click.UsageError("name either dicom:// folders or photographs, and index twice")
    for file in files:
        if file.is_file() and _is_dicom(file):
            raise ImageError(
                f"{file.name} is a DICOM file, which names its patient; name its folder as "
                f"{SCHEME}FOLDER, and it is de-identified on the way in"
            )
    return folders


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def index_dicom(
    ctx: click.Context,
    archive: Path,
    folders: Sequence[Path],
    places: tuple[Path | None, Path | None],
    *,
    encoder: str | None,
    collection: str,
    as_json: bool,
) -> None:
    """Take the DICOM images of folders into an archive and print what became of them."""
    from foveola.cli.pacs import place_of, pseudonyms_of
    from foveola.images.kinds import PassedOver
    from foveola.server.dicom.intake import COLLECTION, Intake, find_files, take_folder

    passed = PassedOver()
    files = [file for source in folders for file in find_files(source, passed)]
    place = place_of(archive, places[0])
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Intake(
        archive, place / "store", pseudonyms_of(place, places[1]), encoder=encoder, collection=collection or COLLECTION
    ) as intake:
        intake.recover()
        with progress("taking in", len(files)) as advance:
            done = take_folder(intake, files, advance)
        total = len(intake.archive)
    passed.counts += done.passed.counts
    refused = sum(done.refused.values())
    if as_json:
        print_json(
            {
                "archive": str(archive),
                "cases": total,
                "added": done.added,
                "unchanged": done.unchanged,
                "refused": dict(done.refused.most_common()),
                "not_dicom": done.others,
                "passed_over": passed.as_json(),
                "doubtful": done.doubtful,
                "may_not_be_gradable": done.hardly_gradable,
            }
        )
    else:
        click.echo(
            f"{archive}: {total} cases; {done.added} DICOM images added, {done.unchanged} there "
            f"already, {refused} could not be used, {done.others} other files passed over"
        )
    say_passed_over(passed)
    _list_reasons(done.refused.most_common())
    for sentence, ids in done.doubtful.items():
        click.echo(f"  {doubtful(sentence, ids)}", err=True)
    say_doubtful(done.hardly_gradable, done.added)
    if refused:
        ctx.exit(PARTLY)


def _list_reasons(reasons: Sequence[tuple[str, int]]) -> None:
    """Say on stderr why, with counts and without names."""
    for reason, count in reasons[:LISTED]:
        click.echo(f"  {count} x {reason}", err=True)
    if len(reasons) > LISTED:
        click.echo(f"  and {len(reasons) - LISTED} more reasons (--json lists all)", err=True)


@click.command(epilog="Example: foveola index archive/ photographs/labels.csv")
@archive_argument
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
    from foveola.images.kinds import PassedOver
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


@click.command(epilog="Example: foveola learn archive/ --label dme")
@archive_argument
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="A further column to learn from, beside grade and findings; may be given again.",
)
@json_option
@click.pass_context
@one_line_errors
def learn(ctx: click.Context, archive: Path, labels: tuple[str, ...], as_json: bool) -> None:
    """Learn from the labels that ARCHIVE records which cases are relevant.

    A search then finds cases with the labels that the query is likely to have, and says how many of
    100 photographs like it have each. `foveola index` does this at its end for grade and findings;
    a column that was learnt once is learnt again whenever the archive changes. A label value that
    fewer than 6 people have is not learnt. What similarities are worth is learnt anew, too.
    """
    from foveola import trust
    from foveola.archive import Archive
    from foveola.errors import ArchiveError
    from foveola.learned import learn_archive, load_learned

    with Archive.open(archive) as opened:
        columns = opened.info().columns
        if unknown := sorted(set(labels) - {"grade", "findings", *columns}):
            raise ArchiveError(
                f"{archive} has no column {unknown[0]!r}; expected one of {', '.join(('grade', 'findings', *columns))}"
            )
        kept = load_learned(opened)
        trust.refresh(opened)
        more = {*labels, *(kept.columns if kept else ())} - {"grade", "findings"}
        made = learn_archive(opened, more)
    if as_json:
        print_json(
            {
                "archive": str(archive),
                "fitted_on": made.fitted_on,
                "refused": dict(made.refused),
                "labels": {
                    label: {
                        "values": of.values,
                        "too_few": of.unlearnt,
                        "cases": of.cases,
                        "people": of.calibrated.people,
                        "new_to_the_encoder": of.calibrated.new,
                    }
                    for label, of in made.labels.items()
                },
            }
        )
    else:
        say_learned(made)
    if any(label not in made.labels for label in labels) or not made.labels:
        ctx.exit(1)


def say_learned(made: "Learned") -> None:
    """Say on stderr what an archive learnt, and of what too few labels are known."""
    for label, of in made.labels.items():
        few = f"; too few people have {', '.join(of.unlearnt)}" if of.unlearnt else ""
        click.echo(f"learnt {len(of.values)} values of {label} from {of.cases} cases{few}", err=True)
    if not made.labels and not made.refused:
        click.echo("nothing learnt: no case has a grade or findings; record some", err=True)
    for reason in made.refused.values():
        click.echo(f"not learnt, so ranked by looks: {reason}", err=True)
