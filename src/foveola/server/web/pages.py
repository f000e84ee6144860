"""How a page is made: a template with its values, what every template may call, files to save."""

from functools import cache
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi import UploadFile as Upload
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from foveola.labels import finding_word, findings_of, grade_word, percent, visit_word
from foveola.records import Case, Eye
from foveola.report.views import bar
from foveola.server.auth.context import account, csrf, csrf_token, may, may_match
from foveola.server.texts import texts


def bytes_of(photograph: Upload | None) -> bytes:
    """Return the photograph that a form sent.

    Raises:
        HTTPException: 422, none came.
    """
    data = photograph.file.read() if photograph else b""
    if not data:
        raise HTTPException(422, texts()("error.no_file"))
    return data


def eye_of(word: str) -> Eye | None:
    """Return the eye that a form names; None for any other word."""
    return "left" if word == "left" else "right" if word == "right" else None


def jpeg(data: bytes) -> Response:
    """Answer with a JPEG."""
    return Response(data, media_type="image/jpeg")


def png(data: bytes | None) -> Response:
    """Answer with a PNG.

    Raises:
        HTTPException: 404, where there is no map.
    """
    if data is None:
        raise HTTPException(404, texts()("reading.no_map"))
    return Response(data, media_type="image/png")


def saved(text: str, kind: str, name: str) -> Response:
    """Answer with a file that a browser saves and does not open."""
    head = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=kind, headers=head)


def refusal(request: Request, status: int, sentence: str) -> HTMLResponse:
    """Refuse in one sentence, as a page or within one."""
    within = request.headers.get("HX-Request")
    return page("fault.html" if within else "error.html", status, sentence=sentence)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a template with its values."""
    values = {"phantoms": False} | values
    return HTMLResponse(_environment().get_template(template).render(**values), status)


def facts(case: Case) -> dict[str, str | None]:
    """Return what is known of a case, by the key of its text."""
    further = {key: case.extra.get(key) for key in ("age", "sex", "outcome")}
    whose = case.subject if may_match() else None
    known = {"subject": whose, "eye": case.eye, "visit": visit_word(case.visit)}
    return known | {key: str(value) for key, value in further.items() if value not in (None, "")}


def card_html(text: str) -> Markup:
    r"""Turn the Markdown of a card into HTML of our own tags; what it says of HTML, links and pictures stays text.

    >>> card_html("**[docs](https://x.org)** <b>")
    Markup('<p><strong>docs</strong> &lt;b&gt;</p>\n')
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tags = {"link_open": "", "link_close": "", "table_close": "</table></div>\n"}
    for name, tag in (tags | {"table_open": '<div class="scroll" tabindex="0"><table>\n'}).items():
        reader.add_render_rule(name, lambda *_, tag=tag: tag)
    tokens = reader.parse(text)
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = min(token.tag, "h3")  # the style has no smaller ones
        elif token.type == "th_open":
            token.attrs = {"scope": "col"}  # instead of a style, which the page's policy would refuse
        elif token.type == "td_open":
            token.attrs = {}
            if tokens[place - 1].type == "tr_open":
                token.attrs, token.tag, tokens[place + 2].tag = {"scope": "row"}, "th", "th"
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704 - every text was escaped


@cache
def _environment() -> Environment:
    made = Environment(
        loader=ChoiceLoader(
            [PackageLoader("foveola.server.web"), PrefixLoader({"report": PackageLoader("foveola.report")})]
        ),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (grade_word, finding_word, findings_of, facts, bar, percent, account, csrf, csrf_token, may, may_match)
    made.globals |= {"t": texts()} | {word.__name__: word for word in words}
    made.filters["finding_word"] = finding_word
    return made
