"""Pages as text: one HTML file that needs nothing else and asks nothing of a network.

    Path("report.html").write_text(search_page(result, images=images), encoding="utf-8")

A policy inside each page forbids scripts and every request; pictures are part of the file.
Whatever comes from a manifest is escaped.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from foveola.labels import GRADES_IN_FULL
from foveola.metrics import Evaluation
from foveola.report.chart import Chart, chart
from foveola.report.shapes import Images, SearchShape
from foveola.report.views import card_rows, view_search
from foveola.resources import AnyPath, beside


def search_page(
    result: SearchShape,
    *,
    images: Images,
    title: str = "Similar cases",
    encoder_card: Mapping[str, object] | None = None,
) -> str:
    """A query and the cases found for it.

    Args:
        result: a `SearchResult`, or anything of its shape.
        images: gives the picture of a case as JPEG or PNG bytes; with None, or bytes of
            another kind, the page says that there is no picture. Called once a case.
        title: of the page.
        encoder_card: what is known of the encoder; "name" and "fingerprint" are shown with
            the search, all plain entries at the end.
    """
    view = view_search(result, images, encoder_card)
    return render(
        "search.html",
        title=title,
        searches=[view],
        phantoms=view.phantoms,
        pictures=view.pictures,
        card=card_rows(encoder_card),
    )


def evaluation_page(
    evaluation: Evaluation,
    *,
    learned: Evaluation | None = None,
    title: str = "Evaluation",
    encoder_card: Mapping[str, object] | None = None,
    phantom: bool = False,
    warning: str = "",
) -> str:
    """The tables of an evaluation and its bars by label value.

    Args:
        evaluation: from `foveola.metrics.evaluate_retrieval`, of the order by looks.
        learned: of the order that the archive learnt from its labels.
        title: of the page.
        encoder_card: as for `search_page`.
        phantom: whether it was done on phantom images, which the page then says.
        warning: why the numbers may mislead; a sentence without its full stop.
    """
    return render(
        "evaluation.html",
        warning=warning,
        title=title,
        **_evaluation_values(evaluation),
        learned=None if learned is None else _evaluation_values(learned),
        phantoms=int(phantom),
        pictures=int(phantom),
        card=card_rows(encoder_card),
    )


def demo_page(
    searches: Sequence[SearchShape],
    evaluation: Evaluation | None = None,
    *,
    images: Images,
    title: str = "Foveola demonstration",
    encoder_card: Mapping[str, object] | None = None,
) -> str:
    """Several searches, then the evaluation, if there is one; arguments as for `search_page`."""
    views = [view_search(result, images, encoder_card) for result in searches]
    return render(
        "demo.html",
        title=title,
        searches=views,
        **_evaluation_values(evaluation),
        phantoms=sum(view.phantoms for view in views),
        pictures=sum(view.pictures for view in views),
        card=card_rows(encoder_card),
    )


def write_page(path: AnyPath, page: str) -> None:
    """Write a page whole or not at all."""
    path = Path(path)
    with beside(path) as partial:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)


def _evaluation_values(evaluation: Evaluation | None) -> dict[str, object]:
    drawn: Chart | None = None if evaluation is None else chart(evaluation)
    return {"evaluation": evaluation, "chart": drawn}


def render(template: str, **values: object) -> str:
    """A page from its template."""
    return _environment().get_template(template).render(**values, grades_in_full=GRADES_IN_FULL)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("foveola.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
