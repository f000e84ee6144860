"""foveola search: cases like a photograph, like one place of it, or people like a pair of eyes."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import (
    archive_argument,
    import_openvino_runtime,
    json_option,
    one_line_errors,
    record_columns,
    show,
)
from foveola.plain import plain
from foveola.records import Case, Eye

if TYPE_CHECKING:
    from foveola.answers import Order
    from foveola.people_search import PersonHit, PersonResult
    from foveola.regions import RegionResult
    from foveola.retrieval import SearchResult
    from foveola.trust import HitTrust


@click.command(epilog='Example: foveola search archive/ fundus.jpg -k 5 --where "grade >= 2"')
@archive_argument
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option("--left", type=click.Path(path_type=Path), help="A left eye, to find people by.")
@click.option("--right", type=click.Path(path_type=Path), help="The right eye of the same person.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 10_000), help="How many cases.")
@click.option("--where", help="Condition on the cases: \"grade >= 2 and eye = 'left'\".")
@click.option("--subject", help="Pseudonym of the query's subject, whose images are left out.")
@click.option("--collection", default="", help="Name space of that pseudonym.")
@click.option("--eye", type=click.Choice(["left", "right"]), help="Which eye the query shows.")
@click.option("--region", help="Find cases like one place: X,Y,WIDTH,HEIGHT in shares of the picture, or X,Y.")
@click.option(
    "--by",
    type=click.Choice(["learned", "looks", "both"]),
    help="Order of the cases: learned from the archive's labels, by looks, or both in equal "
    "parts. Without it: learned, where the archive has learnt something.",
)
@click.option(
    "--label",
    help="Label whose order is wanted: grade, findings, or a column that the archive has learnt. "
    "Without it: the one that most cases have.",
)
@click.option("--same-subject", is_flag=True, help="Let the query's own subject be found too.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with pictures to this file."
)
@json_option
@one_line_errors
def search(
    archive: Path,
    image: Path | None,
    left: Path | None,
    right: Path | None,
    k: int,
    where: str | None,
    subject: str | None,
    collection: str,
    eye: Eye | None,
    region: str | None,
    by: "Order | None",
    label: str | None,
    same_subject: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Find the cases in ARCHIVE that are most like the photograph IMAGE, best first.

    Images of the query's own subject are left out, and counted, unless --same-subject is
    given: they are alike for reasons other than disease.

    Cases come in the order that the archive has learnt from its own labels, where it has learnt
    one (foveola learn); --by and --label choose another.

    With --left and --right, or one of them, the most alike people are found instead: a subject
    at one visit, both eyes taken together.

    With --region cases are found that have a place like the one given, whatever the rest looks
    like; the archive must keep its places (foveola regions on).
    """
    _check_query(image, left, right, eye)
    if (image is None or region is not None) and (by is not None or label is not None):
        raise click.UsageError("--by and --label go with IMAGE as a whole; not with a region or people")
    if image is None and region is not None:
        raise click.UsageError("--region goes with IMAGE: it is a place of one photograph")
    import_openvino_runtime()
    if image is not None and region is not None:
        _search_region(
            archive,
            image,
            region,
            k,
            where=where,
            subject=subject,
            collection=collection,
            eye=eye,
            same_subject=same_subject,
            html=html,
            as_json=as_json,
        )
        return
    from foveola.learned import unlearnt
    from foveola.retrieval import Retriever
    from foveola.trust.sentences import of_quality

    if image is None:
        with Retriever.open(archive) as retriever:
            people = retriever.search_person(
                left, right, k, where=where, subject=subject, collection=collection, same_subject=same_subject
            )
        text, page = partial(_print_people, people), partial(_page, people)
        warned = [f"warning: {warning}" for warning in people.warnings]
        show(people.to_dict(), text, page, html, as_json=as_json, notes=warned)
        return
    with Retriever.open(archive) as retriever:
        result = retriever.search(
            image,
            k,
            where=where,
            subject=subject,
            collection=collection,
            eye=eye,
            same_subject=same_subject,
            by=by,
            label=label,
        )
        advised = unlearnt(retriever.archive)
    notes = (*advised, of_quality(result.trust.looks, result.gradability))
    show(result.to_dict(), partial(_print, result), partial(_page, result), html, as_json=as_json, notes=notes)


def _check_query(image: Path | None, left: Path | None, right: Path | None, eye: Eye | None) -> None:
    if image is None and left is None and right is None:
        raise click.UsageError("give a photograph IMAGE, or a person's eyes with --left and --right")
    if image is None and eye is not None:
        raise click.UsageError("--eye goes with IMAGE; --left and --right say which eye they show")
    if image is not None and (left is not None or right is not None):
        raise click.UsageError("give either IMAGE or --left and --right, not both")


def _page(result: "SearchResult | PersonResult") -> str:
    from foveola.images.pictures import thumbnail
    from foveola.people_search import PersonResult
    from foveola.report import people_page, search_page

    card = {"name": result.encoder, "fingerprint": result.fingerprint}
    if isinstance(result, PersonResult):
        return people_page(result, images=lambda case: thumbnail(Path(case.path)), encoder_card=card)
    return search_page(result, images=lambda case: thumbnail(Path(case.path)), encoder_card=card)


def _print(result: "SearchResult") -> None:
    from foveola.trust.sentences import of_order, of_person, of_picture, of_recorded, of_suggestion

    for line in of_suggestion(result.trust.suggestion, [hit.case for hit in result.hits]):
        click.secho(line, err=True, bold=True)
    head = f"{'agrees':>6}  {'grade':>5}  {'eye':5}  {'findings':12}  image"
    click.echo(f"{'':>4}  {'similarity':>10}  {head}")
    for hit in result.hits:
        click.echo(f"{hit.rank:>4}  {hit.similarity:>+10.4f}  {_agrees(hit.trust):>6}  {_columns(hit.case)}")
    if not result.hits:
        click.echo("no case to compare with")
    left_out = of_person(result.query.subject is not None, result.excluded_same_subject)
    notes = [
        f"{result.considered} cases compared; same person: {left_out}",
        f"ordered {of_order(result.order, result.label)}",
        of_recorded(result.label, result.recorded, len(result.hits)),
    ]
    click.echo("; ".join(filter(None, notes)), err=True)
    for line in of_picture(result.trust):
        click.echo(line, err=True)


def _agrees(trust: "HitTrust | None") -> str:
    """Return the chance that the label is the query's; "far" where it is not sufficiently alike."""
    if trust is not None and not trust.sufficient:
        return "far"
    if trust is None or trust.agreement is None:
        return "-"
    return f"{100 * trust.agreement.value:.0f} %"


def _columns(case: Case) -> str:
    grade, findings = record_columns(case.grade, case.findings)
    return f"{grade}  {case.eye or '-':5}  {findings}  {plain(case.image)}"


def _print_people(result: "PersonResult") -> None:
    from foveola.trust.sentences import of_person

    click.echo(
        f"{'':>4}  {'similarity':>10}  {'left':>7}  {'right':>7}  {'eyes':9}  {'grade':>5}  {'findings':12}  images"
    )
    for hit in result.hits:
        click.echo(f"{hit.rank:>4}  {hit.similarity:>+10.4f}  {_people_columns(hit)}")
    if not result.hits:
        click.echo("nobody to compare with")
    notes = [
        f"{result.considered} people compared",
        f"same person: {of_person(result.subject_known, result.excluded_same_subject)}",
    ]
    if result.unassigned:
        notes.append(f"{result.unassigned} photographs without subject or eye not compared")
    if len(result.judged_by) == 1:
        notes.append(f"judged by the {result.judged_by[0]} eye alone")
    click.echo("; ".join(notes), err=True)


def _people_columns(hit: "PersonHit") -> str:
    """Say how alike each eye is that there is, how the eyes were paired, and what is known."""
    from foveola.people import EYES

    alike = []
    for eye in EYES:
        found = [pair.similarity for pair in hit.pairs if pair.eye == eye]
        alike.append(f"{sum(found) / len(found):>+7.3f}" if found else f"{'-':>7}")
    how = "one eye" if len(hit.cases) == 1 else "crossed" if hit.crossed else "both"
    grade, findings = record_columns(hit.grade, hit.findings)
    images = ", ".join(plain(case.image) for case in hit.cases.values())
    return f"{'  '.join(alike)}  {how:9}  {grade}  {findings}  {images}"


def _search_region(
    archive: Path,
    image: Path,
    region: str,
    k: int,
    *,
    where: str | None,
    subject: str | None,
    collection: str,
    eye: Eye | None,
    same_subject: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Search, and print what was found."""
    from foveola.images.decode import read_bytes
    from foveola.regions import Box, RegionSearch
    from foveola.regions.search import to_dict, to_page
    from foveola.trust.sentences import of_quality

    box = Box.parse(region)  # a wrong one is said before anything is read
    with RegionSearch.open(archive) as search:
        data = read_bytes(image)
        query = search.retriever.embed(
            data, image.name, path=str(image.absolute()), subject=subject, collection=collection, eye=eye
        )
        places = search.look_at(data, query)
        result = search.search(query, places, box, k, where=where, same_subject=same_subject)
    notes = [of_quality(result.looks, result.gradability)] if as_json else []  # the text says it, too
    text, page = partial(_print_region, result), partial(to_page, result, image)
    show(to_dict(result), text, page, html, as_json=as_json, notes=notes)


def _print_region(result: "RegionResult") -> None:
    from foveola.regions.search import sentences

    head = f"{'box':23}  {'grade':>5}  {'eye':5}  {'findings':12}  image"
    click.echo(f"{'':>4}  {'similarity':>10}  {head}")
    for hit in result.hits:
        box = ",".join(f"{value:.3f}" for value in hit.box)
        click.echo(f"{hit.rank:>4}  {hit.similarity:>+10.4f}  {box:23}  {_columns(hit.case)}")
    if not result.hits:
        click.echo("no case to compare with")
    for line in sentences(result):
        click.echo(line, err=True)
