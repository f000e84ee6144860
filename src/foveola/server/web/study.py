"""The pages of a reader study. A page of a pair tells nothing but two pictures."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from foveola.labels import is_phantom
from foveola.server.auth.context import LARGE, NAMED, record_access
from foveola.server.dependencies import OnService
from foveola.server.services.memory import LRUCache
from foveola.server.services.search import SearchService
from foveola.server.study import SCALE, Answer, Answers, Item, Study, code, to_csv
from foveola.server.texts import texts
from foveola.server.web.pages import jpeg, page, saved

router = APIRouter(include_in_schema=False)
LONGEST = 86_400.0  # seconds; a pair left open for days was not looked at for days


class Sessions:
    """A study as it is being answered.

    Args:
        study: with its answers.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.answers = Answers(study.folder)
        self._since: LRUCache[float] = LRUCache(10_000)

    def left(self, reader: str, service: SearchService) -> list[tuple[int, Item]]:
        """Return what a reader has not answered, with its place from 1; without cases that are gone."""
        done = {a.item for a in self.answers.all() if a.reader == reader}
        there = set(service.retriever.archive.vectors()[0].tolist())
        order = enumerate(self.study.order(reader), 1)
        return [(place, item) for place, item in order if item.number not in done and {item.query, item.shown} <= there]

    def since(self, reader: str, item: Item) -> float:
        """Return seconds since a pair was first shown to a reader."""
        return time.monotonic() - self._since.get((reader, item.number), time.monotonic)


def sessions_of(request: Request) -> Sessions:
    """Return the study.

    Raises:
        HTTPException: none is served.
    """
    sessions: Sessions | None = request.app.state.study
    if sessions is None:
        raise HTTPException(404, texts()("study.none"))
    return sessions


OnStudy = Annotated[Sessions, Depends(sessions_of)]


@router.get("/study")
def begin(sessions: OnStudy) -> HTMLResponse:
    """Show where a reader gives their code."""
    return page("study.html", count=len(sessions.study.items))


@router.post("/study", dependencies=[Depends(sessions_of)])
def enter(reader: Annotated[str, Form()]) -> Response:
    """Go to the reader's first open pair."""
    return RedirectResponse(f"/study/readers/{code(reader.strip())}", 303)


@router.get("/study/answers.csv")
def answers(sessions: OnStudy) -> Response:
    """Save all answers."""
    answered = {each.item for each in sessions.answers.all()}
    items = (item for item in sessions.study.items if item.number in answered)
    record_access((id_ for item in items for id_ in (item.query, item.shown)), NAMED)
    return saved(to_csv(sessions.study), "text/csv", "answers.csv")


@router.get("/study/readers/{reader}")
def pair(reader: str, service: OnService, sessions: OnStudy) -> HTMLResponse:
    """Show the next pair."""
    left = sessions.left(code(reader), service)
    total = len(sessions.study.items)
    if not left:
        return page("study_end.html", total=total)
    place, item = left[0]
    sessions.since(reader, item)
    cases = [service.case(id_) for id_ in (item.query, item.shown)]
    record_access((item.query, item.shown), LARGE)
    return page(
        "study_pair.html",
        reader=reader,
        place=place,
        done=total - len(left),
        total=total,
        scale=range(1, SCALE + 1),
        phantoms=any(map(is_phantom, cases)),
    )


@router.post("/study/readers/{reader}/{place}")
def answer(
    reader: str,
    place: int,
    sessions: OnStudy,
    similar: Annotated[int, Form(ge=1, le=SCALE)],
    useful: Annotated[int, Form(ge=1, le=SCALE)],
    seconds: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Keep an answer; the first one to a pair counts."""
    item = _item(sessions, reader, place)
    since = sessions.since(reader, item)
    sessions.answers.add(
        Answer(
            reader=reader,
            item=item.number,
            order=place,
            similar=similar,
            useful=useful,
            seconds=_seconds(seconds),
            server_seconds=round(since, 3) if since > 0.001 else None,
        )
    )
    return RedirectResponse(f"/study/readers/{reader}", 303)


@router.get("/study/readers/{reader}/{place}/{side}")
def picture(reader: str, place: int, side: str, service: OnService, sessions: OnStudy) -> Response:
    """Show a photograph of a pair, by its place in the reader's own order."""
    if side not in ("first", "second"):
        raise HTTPException(404, texts()("study.no_pair"))
    item = _item(sessions, reader, place)
    return jpeg(service.picture(item.query if side == "first" else item.shown).jpeg)


def _item(sessions: Sessions, reader: str, place: int) -> Item:
    order = sessions.study.order(code(reader))
    if not 1 <= place <= len(order):
        raise HTTPException(404, texts()("study.no_pair"))
    return order[place - 1]


def _seconds(said: str) -> float | None:
    """By the reader's clock; None where it says nothing that can be."""
    try:
        seconds = float(said)
    except ValueError:
        return None
    return round(seconds, 3) if 0 <= seconds <= LONGEST else None
