"""The pages of matching and of the audit's worklist."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response
from fastapi import UploadFile as Upload
from fastapi.responses import HTMLResponse, RedirectResponse

from foveola.datasets.cells import visit_of
from foveola.labels import is_phantom
from foveola.matching import permission
from foveola.matching.match import SHOWN, verdict
from foveola.matching.saved_audit import KINDS, SavedFinding, Verdict
from foveola.server.auth.context import LARGE, account, record_access
from foveola.server.dependencies import OnMatching, OnService
from foveola.server.services.matching import Matched
from foveola.server.texts import texts
from foveola.server.web.pages import bytes_of, jpeg, page

router = APIRouter(include_in_schema=False)


@router.get("/match")
def match_form(matching: OnMatching) -> HTMLResponse:
    """Show where a photograph is given whose eye is looked for."""
    return page("match.html", allowed=matching.allowed())


@router.post("/match")
def match(
    matching: OnMatching,
    photograph: Annotated[Upload | None, File()] = None,
    visit: Annotated[str, Form(max_length=40)] = "",
    prior: Annotated[float, Form(gt=0, lt=100)] = 50,
) -> Response:
    """Look for other photographs of the eye."""
    token = matching.match(bytes_of(photograph), visit_of(visit), prior / 100)
    return RedirectResponse(f"/match/{token}", 303)


def matched_of(token: str, matching: OnMatching) -> Matched:
    """Return an answer that is still kept.

    Raises:
        HTTPException: it is not, or matching was switched off since.
    """
    matched = matching.matches.get(token)
    if matched is None or matching.allowed() is None:
        raise HTTPException(410, texts()("query.gone"))
    return matched


OnMatched = Annotated[Matched, Depends(matched_of)]


@router.get("/match/{token}")
def matches(token: str, service: OnService, matched: OnMatched) -> HTMLResponse:
    """Show the candidates with their probabilities, or that there is no match."""
    result = matched.result
    shown = [c for c in result.candidates if c in result.found or c.rank <= SHOWN]
    known = [(c, service.retriever.archive.find(path=c.case.path)) for c in shown]
    record_access(held[0] for _, held in known if held is not None)
    return page(
        "matched.html",
        token=token,
        result=result,
        said=verdict(result),
        found={c.rank for c in result.found},
        candidates=[(c, held[0]) for c, held in known if held is not None],
        phantoms=any(is_phantom(c.case) for c in shown),
    )


@router.get("/match/{token}/thumbnail")
def matched_thumbnail(matched: OnMatched) -> Response:
    """Show the photograph whose eye was looked for."""
    return jpeg(matched.thumbnail)


@router.get("/match/{token}/board/{rank}")
def board(rank: int, matching: OnMatching, matched: OnMatched) -> Response:
    """Show photograph and candidate laid over each other."""
    return _jpeg(matching.board(matched, rank))


@router.get("/audit")
def audit(request: Request, service: OnService, matching: OnMatching, kind: str = "", at: str = "") -> HTMLResponse:
    """Show one finding to decide on, and how far the work has come."""
    allowed, run = matching.allowed(), matching.run
    work = matching.worklist() if allowed is not None else None
    if request.headers.get("HX-Request"):
        return page("audit_run.html", run=run)
    if work is None:
        return page("audit_none.html", allowed=allowed, run=run)
    decided = matching.decided()
    left = [each for each in work.findings if each.key not in decided]
    chosen = [each for each in left if kind in ("", each.kind)]
    place = next((i for i, each in enumerate(chosen) if each.key == at), 0)
    finding = chosen[place] if chosen else None
    if finding is not None:
        permission.log_use(matching.folder, "audit finding shown", finding=finding.key)
    shown = [] if finding is None else [(i, service.case(i)) for i in finding.ids]
    record_access((i for i, _ in shown), LARGE)  # its board lays them over each other
    return page(
        "audit.html",
        run=run,
        work=work,
        kind=kind,
        finding=finding,
        shown=shown,
        counts=_counts(left),
        total=len(work.findings),
        done=len(work.findings) - len(left),
        place=place,
        many=len(chosen),
        laid=_can_be_laid(finding),
        before=chosen[place - 1].key if place else "",
        after=chosen[place + 1].key if place + 1 < len(chosen) else "",
        decided=[(each, decided[each.key]) for each in work.findings if each.key in decided],
        phantoms=any(is_phantom(case) for _, case in shown),
    )


@router.post("/audit/run")
def run_audit(matching: OnMatching) -> Response:
    """Look through the archive."""
    matching.start()
    return RedirectResponse("/audit", 303)


@router.post("/audit/{key}")
def decide(
    key: str,
    matching: OnMatching,
    verdict: Annotated[Verdict, Form()],
    note: Annotated[str, Form(max_length=500)] = "",
    kind: Annotated[str, Form()] = "",
    after: Annotated[str, Form()] = "",
) -> Response:
    """Record a decision, and go to the next finding."""
    work = matching.worklist()
    if work is None or key not in {each.key for each in work.findings}:
        raise HTTPException(404, texts()("audit.no_finding"))
    matching.decide(key, verdict, note.strip(), account() or None)
    address = f"/audit?kind={kind if kind in KINDS else ''}"
    return RedirectResponse(address + (f"&at={after}" if after.isalnum() else ""), 303)


@router.get("/audit/{key}/board")
def finding_board(key: str, matching: OnMatching) -> Response:
    """Show the two photographs of a finding laid over each other."""
    work = matching.worklist() if matching.allowed() is not None else None
    found = [each for each in (work.findings if work else ()) if each.key == key]
    return _jpeg(matching.evidence(found[0]) if found else None)


def _counts(left: list[SavedFinding]) -> dict[str, int]:
    found = Counter(each.kind for each in left)
    return {kind: found[kind] for kind in KINDS if found[kind]}


def _can_be_laid(finding: SavedFinding | None) -> bool:
    return finding is not None and len(finding.ids) == 2 and ("features that agree" in finding.evidence)


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        raise HTTPException(404, texts()("match.no_board"))
    return jpeg(data)
