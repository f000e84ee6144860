"""foveola search --region: the part of `foveola search` that is asked about one place."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveola.cli.output import case_json, print_json, record_columns
from foveola.plain import plain
from foveola.records import Eye

if TYPE_CHECKING:
    from foveola.regions import Box, RegionHit, RegionResult


def search_region(
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
    from foveola.trust.sentences import of_quality

    box = Box.parse(region)  # a wrong one is said before anything is read
    with RegionSearch.open(archive) as search:
        data = read_bytes(image)
        query = search.retriever.embed(
            data, image.name, path=str(image.absolute()), subject=subject, collection=collection, eye=eye
        )
        places = search.look_at(data, query)
        result = search.search(query, places, box, k, where=where, same_subject=same_subject)
    if html is not None:
        from foveola.regions.search import to_page
        from foveola.report import write_page

        write_page(html, to_page(result, image))
    if as_json:
        print_json(to_json(result))
        if (doubt := of_quality(result.looks, result.gradability)) is not None:
            click.echo(doubt, err=True)
    else:
        _print(result)
    if html is not None:
        click.echo(f"report: {html}", err=True)


def to_json(result: "RegionResult") -> dict[str, object]:
    """Plain types; boxes are x, y, width and height in shares of the picture."""
    from foveola.regions.search import sentences

    return {
        "query": {**case_json(result.query), "in_archive": result.in_archive},
        "region": _box(result.region),
        "hits": [
            {
                "rank": hit.rank,
                "similarity": round(hit.similarity, 6),
                "id": hit.id,
                "box": _box(hit.box),
                **case_json(hit.case),
            }
            for hit in result.hits
        ],
        "itself": round(result.itself, 6),
        "typical": None if result.typical is None else round(result.typical, 6),
        "excluded_same_subject": result.excluded_same_subject,
        "considered": result.considered,
        "undescribed": result.undescribed,
        "where": result.where,
        "encoder": result.encoder,
        "fingerprint": result.fingerprint,
        "milliseconds": round(result.milliseconds, 2),
        "sentences": sentences(result),
    }


def _box(box: "Box") -> list[float]:
    return [round(value, 4) for value in box]


def _print(result: "RegionResult") -> None:
    from foveola.regions.search import sentences

    head = f"{'box':23}  {'grade':>5}  {'eye':5}  {'findings':12}  image"
    click.echo(f"{'':>4}  {'similarity':>10}  {head}")
    for hit in result.hits:
        click.echo(_line(hit))
    if not result.hits:
        click.echo("no case to compare with")
    for line in sentences(result):
        click.echo(line, err=True)


def _line(hit: "RegionHit") -> str:
    box = ",".join(f"{value:.3f}" for value in hit.box)
    grade, findings = record_columns(hit.case.grade, hit.case.findings)
    return (
        f"{hit.rank:>4}  {hit.similarity:>+10.4f}  {box:23}  {grade}  {hit.case.eye or '-':5}  "
        f"{findings}  {plain(hit.case.image)}"
    )
