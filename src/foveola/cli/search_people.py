"""What foveola search says of people, asked with --left and --right."""

from pathlib import Path
from typing import Any

import click

from foveola.cli.output import case_json, print_json, record_columns
from foveola.people import EYES
from foveola.people_search import PersonHit, PersonResult
from foveola.plain import plain
from foveola.trust.sentences import of_person


def show_people(result: PersonResult, html: Path | None, *, as_json: bool) -> None:
    """Print the people found, and write the report where one is wanted."""
    if html is not None:
        from foveola.report import write_page

        write_page(html, _page(result))
    if as_json:
        print_json(people_json(result))
    else:
        _print(result)
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    if html is not None:
        click.echo(f"report: {html}", err=True)


def people_json(result: PersonResult) -> dict[str, Any]:
    """A search for people as plain values; an eye that is not there is None."""
    query = {
        eye: {
            **case_json(case),
            "in_archive": eye in result.in_archive,
            "gradability": round(result.gradability[eye], 2),
        }
        for eye, case in result.query.items()
    }
    return {
        "query": dict.fromkeys(EYES) | query,
        "judged_by": list(result.judged_by),
        "refused": dict(result.refused),
        "warnings": list(result.warnings),
        "hits": [_hit_json(hit) for hit in result.hits],
        "excluded_same_subject": result.excluded_same_subject,
        "considered": result.considered,
        "unassigned": result.unassigned,
        "where": result.where,
        "encoder": result.encoder,
        "fingerprint": result.fingerprint,
        "milliseconds": round(result.milliseconds, 2),
    }


def _hit_json(hit: PersonHit) -> dict[str, Any]:
    eyes: dict[str, Any] = {eye: {"id": hit.ids[eye], **case_json(case)} for eye, case in hit.cases.items()}
    return {
        "rank": hit.rank,
        "similarity": round(hit.similarity, 6),
        "pairs": [{"query": p.query, "eye": p.eye, "similarity": round(p.similarity, 6)} for p in hit.pairs],
        "crossed": hit.crossed,
        "subject": hit.subject,
        "visit": hit.visit,
        "grade": hit.grade,
        "findings": None if hit.findings is None else sorted(hit.findings),
        **dict.fromkeys(EYES),
        **eyes,
    }


def _page(result: PersonResult) -> str:
    from foveola.images.pictures import thumbnail
    from foveola.report import people_page

    card = {"name": result.encoder, "fingerprint": result.fingerprint}
    return people_page(result, images=lambda case: thumbnail(Path(case.path)), encoder_card=card)


def _print(result: PersonResult) -> None:
    click.echo(
        f"{'':>4}  {'similarity':>10}  {'left':>7}  {'right':>7}  {'eyes':9}  {'grade':>5}  {'findings':12}  images"
    )
    for hit in result.hits:
        click.echo(f"{hit.rank:>4}  {hit.similarity:>+10.4f}  {_columns(hit)}")
    if not result.hits:
        click.echo("nobody to compare with")
    click.echo("; ".join(_notes(result)), err=True)


def _columns(hit: PersonHit) -> str:
    """How alike each eye is that there is, how the eyes were paired, and what is known."""
    alike = []
    for eye in EYES:
        found = [pair.similarity for pair in hit.pairs if pair.eye == eye]
        alike.append(f"{sum(found) / len(found):>+7.3f}" if found else f"{'-':>7}")
    how = "one eye" if len(hit.cases) == 1 else "crossed" if hit.crossed else "both"
    grade, findings = record_columns(hit.grade, hit.findings)
    images = ", ".join(plain(case.image) for case in hit.cases.values())
    return f"{'  '.join(alike)}  {how:9}  {grade}  {findings}  {images}"


def _notes(result: PersonResult) -> list[str]:
    person = of_person(result.subject_known, result.excluded_same_subject)
    notes = [f"{result.considered} people compared", f"same person: {person}"]
    if result.unassigned:
        notes.append(f"{result.unassigned} photographs without subject or eye not compared")
    if len(result.judged_by) == 1:
        notes.append(f"judged by the {result.judged_by[0]} eye alone")
    return notes
