"""foveola read."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foveola.cli.output import (
    PARTLY,
    failed_json,
    import_openvino_runtime,
    json_option,
    list_failed,
    one_line_errors,
    progress,
    read_cases,
    show,
)
from foveola.labels import NO_DIAGNOSIS

if TYPE_CHECKING:
    from foveola.encoders.encoder import Failed
    from foveola.encoders.reading_model import ReadingModel
    from foveola.looks import Looker
    from foveola.people_search import PersonResult
    from foveola.reading import Reading, ReadPerson

# What a table's reader says of a person of whom nothing could be read.
UNREAD: dict[str, Any] = {"probabilities": None, "found": [], "eyes": {}, "refused": {}, "warnings": []}


@click.command(epilog="Example: foveola read left.jpg right.jpg --archive archive/ --html r.html")
@click.argument("left", required=False, type=click.Path(path_type=Path))
@click.argument("right", required=False, type=click.Path(path_type=Path))
@click.option("--left", "only_left", type=click.Path(path_type=Path), help="The left eye alone.")
@click.option("--right", "only_right", type=click.Path(path_type=Path), help="The right eye alone.")
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of photographs with subject and eye: read all of its people.",
)
@click.option("--collection", default="", help="Name space of the manifest's subjects.")
@click.option("--reader", "source", help="Name of a shipped reader, or the folder of one.")
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    help="Show the most alike people of this archive beside it.",
)
@click.option("-k", default=5, show_default=True, type=click.IntRange(1, 100), help="How many of them.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with pictures to this file."
)
@json_option
@click.pass_context
@one_line_errors
def read(
    ctx: click.Context,
    left: Path | None,
    right: Path | None,
    only_left: Path | None,
    only_right: Path | None,
    manifest: Path | None,
    collection: str,
    source: str | None,
    archive: Path | None,
    k: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Say how probable each finding is from the photographs LEFT and RIGHT of a person's eyes.

    With one eye give --left or --right. With --manifest it reads everybody in a table, and
    --json prints a list with one object a person, each on a line of its own.

    The probabilities are for whoever looks at the photographs; they are no diagnosis.
    """
    left, right = left or only_left, right or only_right
    _check(manifest, (left, right), (only_left, only_right), archive or html)
    import_openvino_runtime()
    from foveola.encoders.compiling import WAITED_FOR
    from foveola.encoders.reading_model import DEFAULT_READER, ReadingModel

    together = WAITED_FOR if manifest is None else 1
    reader = ReadingModel.load(source or DEFAULT_READER, together=together)
    from foveola.looks import Looker

    looker = Looker.shipped(together=together)
    from foveola.reading import read_person  # while the networks are compiled

    if manifest is not None:
        _in_bulk(ctx, reader, looker, manifest, collection, as_json=as_json)
        return
    reading = read_person(reader, left, right, looker)
    similar = None if archive is None else _similar(archive, left, right, k)
    show(
        reading.answer(() if similar is None else similar.hits),
        partial(_print, reading, similar),
        partial(_page, reading, similar),
        html,
        as_json=as_json,
        notes=[f"warning: {warning}" for warning in reading.warnings],
    )


def _check(
    manifest: Path | None,
    eyes: tuple[Path | None, Path | None],
    alone: tuple[Path | None, Path | None],
    single: Path | None,
) -> None:
    """Refuse what would be ignored or read as something else."""
    if manifest is not None:
        if any(eyes):
            raise click.UsageError("give photographs or --manifest, not both")
        if single is not None:
            raise click.UsageError("--archive and --html are for one person, not for --manifest")
    elif not any(eyes):
        raise click.UsageError("give LEFT and RIGHT, one eye with --left or --right, or --manifest")
    elif any(alone) and sum(map(bool, eyes)) != sum(map(bool, alone)):
        raise click.UsageError("give LEFT and RIGHT, or --left and --right, not some of each")
    elif eyes[1] is None and not any(alone):
        raise click.UsageError("one photograph was given and nobody knows of which eye; say --left or --right")


def _in_bulk(
    ctx: click.Context, reader: "ReadingModel", looker: "Looker", manifest: Path, collection: str, *, as_json: bool
) -> None:
    """Everybody in a table, as they come: nothing is kept until the end."""
    from foveola.reading import read_people

    failed: list[Failed] = []
    count = warned = 0
    if not as_json:
        click.echo("\t".join(("subject", "visit", "eyes", *reader.labels)))
    with progress("reading", None) as advance:
        for person in read_people(reader, read_cases([manifest], collection), looker):
            failed += person.failed
            if as_json:
                text = json.dumps(_person_json(person), ensure_ascii=False, allow_nan=False)
                click.echo(f"{',' if count else '['}\n{text}", nl=False)
            else:
                click.echo(_row(person))
            count += 1
            warned += bool(person.reading and person.reading.warnings)
            advance(1)
    if as_json:
        click.echo("\n]")
    else:
        click.echo(NO_DIAGNOSIS, err=True)
        if warned:
            who = "1 person has" if warned == 1 else f"{warned} people have"
            click.echo(f"{who} warnings, which --json lists", err=True)
    list_failed(failed)
    if failed:
        ctx.exit(PARTLY)


def _person_json(person: "ReadPerson") -> dict[str, Any]:
    case, reading = person.case, person.reading
    said = {} if reading is None else reading.to_dict()
    return {
        "subject": case.subject,
        "collection": case.collection,
        "visit": case.visit,
        **{key: said.get(key, nothing) for key, nothing in UNREAD.items()},
        "failed": failed_json(person.failed),
    }


def _row(person: "ReadPerson") -> str:
    case, reading = person.case, person.reading
    start = [case.subject or "-", "-" if case.visit is None else str(case.visit)]
    if reading is None:
        return "\t".join([*start, "none"])
    return "\t".join([*start, "+".join(reading.eyes), *(f"{p:.3f}" for p in reading.probabilities)])


def _similar(archive: Path, left: Path | None, right: Path | None, k: int) -> "PersonResult":
    from foveola.retrieval import Retriever

    with Retriever.open(archive) as retriever:
        return retriever.search_person(left, right, k)


def _print(reading: "Reading", similar: "PersonResult | None") -> None:
    from foveola.labels import finding_word

    eyes = list(reading.eyes)
    whose = "person" if len(eyes) > 1 else "eye"
    click.echo(f"{'':34}{whose:>8}" + "".join(f"{eye:>8}" for eye in eyes))
    for i, label in enumerate(reading.labels):
        of = "".join(f"{reading.eyes[eye].probabilities[i]:>8.2f}" for eye in eyes)
        above = "  above its threshold" if label in reading.found else ""
        word = finding_word(label)
        name = word if word == label else f"{label}  {word}"
        click.echo(f"{name:34}{reading.probabilities[i]:>8.2f}{of}{above}")
    if similar is not None:
        from foveola.report import among

        click.echo(f"similar people: {among(similar) or 'none whose findings are known'}")
    click.echo(NO_DIAGNOSIS, err=True)


def _page(reading: "Reading", similar: "PersonResult | None") -> str:
    from foveola.images.pictures import thumbnail
    from foveola.reading import pictures
    from foveola.report import reading_page

    shown = pictures(reading)
    return reading_page(
        reading, shown.photographs, shown.evidence, similar=similar, images=lambda case: thumbnail(Path(case.path))
    )
