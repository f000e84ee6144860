"""The pages of both eyes: photographs in, alike people, hits of each eye, and the reading out."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response
from fastapi import UploadFile as Upload
from fastapi.responses import HTMLResponse, RedirectResponse

from foveola.errors import FoveolaError
from foveola.labels import finding_word, is_phantom
from foveola.people import NORMAL
from foveola.reading import Reading
from foveola.records import Eye
from foveola.report.people import SEEN, among
from foveola.server.dependencies import Asked, OnReading, OnService, Ticked, Whose
from foveola.server.errors import nameless
from foveola.server.services.exports import people_report, reading_report
from foveola.server.services.filters import offered
from foveola.server.services.memory import Sent
from foveola.server.services.reading import Pair, ReadingService, pixels
from foveola.server.services.search import SearchService
from foveola.server.texts import texts
from foveola.server.web.pages import eye_of, page, png, saved
from foveola.server.web.search import HTML, hit_values
from foveola.trust.sentences import of_person

router = APIRouter(include_in_schema=False)
READING = (HTML[0], "reading.html")
ALIKE = 5  # people shown beside a reading, as `foveola read` has it
SHOWS = ("people", "right", "left", "reading")


def pair_of(token: str, reading: OnReading) -> tuple[Pair, dict[Eye, Sent]]:
    """Return two photographs that are still kept.

    Raises:
        HTTPException: they are not.
    """
    pair = reading.pairs.get(token)
    sent = None if pair is None else reading.sent(pair)
    if pair is None or sent is None:
        raise HTTPException(410, texts()("query.gone"))
    return pair, sent


Paired = Annotated[tuple[Pair, dict[Eye, Sent]], Depends(pair_of)]


@router.post("/people")
def send(
    reading: OnReading,
    whose: Whose,
    photograph: Annotated[list[Upload] | None, File()] = None,
    eye: Annotated[str, Form()] = "",
) -> Response:
    """Take one photograph or two, and go to what is found."""
    files = [data for each in photograph or [] if (data := each.file.read())]
    if not files:
        raise HTTPException(422, texts()("error.no_file"))
    if len(files) > len(SEEN):
        raise HTTPException(422, texts()("both.too_many", count=len(files)))
    return RedirectResponse(reading.receive(files, eye_of(eye), *whose), 303)


def unsaid_of(token: str, reading: OnReading) -> tuple[str, ...]:
    """Return two photographs of which nobody said which is which.

    Raises:
        HTTPException: they are not kept any more.
    """
    tokens = reading.unsaid.get(token)
    if tokens is None or any(reading.service.queries.get(each) is None for each in tokens):
        raise HTTPException(410, texts()("query.gone"))
    return tokens


Unsaid = Annotated[tuple[str, ...], Depends(unsaid_of)]


@router.get("/eyes/{token}")
def which(token: str, tokens: Unsaid) -> HTMLResponse:
    """Show where it is asked which eye the first of two photographs shows."""
    return page("which.html", token=token, tokens=tokens)


@router.post("/eyes/{token}")
def say(reading: OnReading, tokens: Unsaid, eye: Annotated[Eye, Form()]) -> Response:
    """Take the answer, and go to what is found."""
    return RedirectResponse(reading.say(tokens, eye), 303)


@router.post("/people/{token}/swap")
def swap(reading: OnReading, paired: Paired) -> Response:
    """Exchange left and right."""
    return RedirectResponse(reading.swap(paired[0]), 303)


@router.get("/people/{token}")
def people(
    token: str,
    request: Request,
    service: OnService,
    reading: OnReading,
    paired: Paired,
    chosen: Ticked,
    show: str = "people",
    finding_map: str = "",
) -> HTMLResponse:
    """Show what is found for two eyes: alike people, the hits of one eye, or the reading."""
    pair, sent = paired
    whole = not request.headers.get("HX-Request")
    show = show if show in SHOWS else "people"
    values: dict[str, Any] = {
        "token": token,
        "pair": pair,
        "sent": sent,
        "seen": SEEN,
        "chosen": chosen,
        "show": show,
        "action": f"/people/{token}",
        "offered": offered(service.retriever) if whole else None,
    }
    try:
        values |= _shown(show, service, reading, pair, sent, chosen, finding_map)
    except FoveolaError as error:  # said where it is asked; the photographs can still be swapped
        values |= {"show": "fault", "asked_for": show}
        values["sentence"] = nameless(str(error), service.retriever.archive.folder)
    return page("both.html" if whole else "both_found.html", **values)


def _shown(
    show: str,
    service: OnService,
    reading: ReadingService,
    pair: Pair,
    sent: Mapping[Eye, Sent],
    chosen: Ticked,
    label: str,
) -> dict[str, Any]:
    if show == "reading":
        return reading_values(reading.reading(sent), label)
    if show == "people":
        found = reading.people(sent, chosen.count, chosen.condition())
        cases = [case for hit in found.hits for case in hit.cases.values()]
        return {
            "found": found,
            "among": among(found),
            "phantoms": any(map(is_phantom, cases)),
            "person": of_person(found.subject_known, found.excluded_same_subject),
        }
    eye: Eye = "left" if show == "left" else "right"
    return hit_values(service, pair.tokens[eye], sent[eye], chosen) | {"eye": eye}


@router.get("/queries/{token}/reading")
def read_one(token: str, reading: OnReading, sent: Asked, finding_map: str = "") -> HTMLResponse:
    """Show what the reader says of one eye."""
    eye = one_eye(sent)
    values = reading_values(reading.reading({eye: sent}), finding_map)
    return page("reading_page.html", token=token, eye=eye, seen=SEEN, action=f"/queries/{token}/reading", **values)


def one_eye(sent: Sent) -> Eye:
    """Return which eye a photograph shows.

    Raises:
        HTTPException: nobody said.
    """
    if sent.query.case.eye is None:
        raise HTTPException(422, texts()("reading.which_eye"))
    return sent.query.case.eye


def reading_values(reading: Reading, label: str) -> dict[str, Any]:
    """Return what a page says of a reading, and of which finding it shows the evidence."""
    order = sorted(zip(reading.probabilities.tolist(), reading.labels, strict=True), reverse=True)
    likeliest = next(name for _, name in order if name != NORMAL)
    lines = [
        {
            "label": name,
            "word": finding_word(name),
            "chance": chance,
            "threshold": threshold,
            "found": name in reading.found,
            "eyes": {eye: float(of.probabilities[i]) for eye, of in reading.eyes.items()},
        }
        for i, (name, chance, threshold) in enumerate(
            zip(reading.labels, reading.probabilities.tolist(), reading.thresholds, strict=True)
        )
    ]
    return {
        "reading": reading,
        "lines": lines,
        "label": label if label in reading.labels else likeliest,
        "doubts": {eye: of.doubt for eye, of in reading.eyes.items()},
    }


@router.get("/people/{token}/evidence/{label}/{eye}")
def evidence_of_pair(label: str, eye: Eye, reading: OnReading, paired: Paired) -> Response:
    """Show where a finding comes from in one of two eyes."""
    return png(reading.evidence(paired[1], label, eye))


@router.get("/queries/{token}/reading/evidence/{label}/{eye}")
def evidence_of_one(label: str, eye: Eye, reading: OnReading, sent: Asked) -> Response:
    """Show where a finding comes from in the one eye there is."""
    return png(reading.evidence({eye: sent} if sent.query.case.eye == eye else {}, label, eye))


@router.get("/people/{token}/report")
def people_report_file(service: OnService, reading: OnReading, paired: Paired, chosen: Ticked) -> Response:
    """Save the people most like one person as a page that needs nothing else."""
    sent = paired[1]
    found = reading.people(sent, chosen.count, chosen.condition())
    own = {eye: of.thumbnail for eye, of in sent.items()}
    return saved(people_report(found, own, service.thumbnail, service.card), *HTML)


@router.get("/people/{token}/reading/report")
def reading_file(service: OnService, reading: OnReading, paired: Paired) -> Response:
    """Save what the reader says of two eyes as a page that needs nothing else."""
    return _reading_file(service, reading, paired[1])


@router.get("/queries/{token}/reading/report")
def reading_of_one(service: OnService, reading: OnReading, sent: Asked) -> Response:
    """Save what it says of the one eye there is."""
    return _reading_file(service, reading, {one_eye(sent): sent})


def _reading_file(service: SearchService, reading: ReadingService, sent: Mapping[Eye, Sent]) -> Response:
    said = reading.reading(sent)
    own = {eye: of.thumbnail for eye, of in sent.items()}
    photographs = {eye: pixels(of) for eye, of in sent.items()}
    similar = None
    with suppress(FoveolaError):  # the reading stands without them
        similar = reading.people(sent, ALIKE, None)
    return saved(reading_report(said, photographs, similar, own, service.thumbnail), *READING)
