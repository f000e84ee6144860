"""What `foveola index` does with dicom://FOLDER."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from foveola.cli.output import LISTED, PARTLY, doubtful, print_json, progress, say_doubtful, say_passed_over
from foveola.errors import ImageError

SCHEME = "dicom://"


class DicomFolder:
    """A folder that was named with dicom://."""

    def __init__(self, path: Path) -> None:
        self.path = path


class Sources(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """A path that exists, or dicom:// and a folder."""

    name = "path"
    _path = click.Path(exists=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | DicomFolder:
        """The path, or the folder after the scheme."""
        if isinstance(value, str) and value.startswith(SCHEME):
            return DicomFolder(Path(value.removeprefix(SCHEME)))
        return Path(str(self._path.convert(value, param, ctx)))


def dicom_folders(sources: Sequence[Path | DicomFolder]) -> list[Path]:
    """The folders of DICOM images, none where photographs are named.

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
    from foveola.cli.pacs_parts import place_of, pseudonyms_of
    from foveola.images.folders import PassedOver
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
