"""Reports for people: self-contained HTML pages of searches and evaluations."""

from foveola.report.pages import Pair, Photograph, demo_page, evaluation_page, pairs_page, search_page, write_page
from foveola.report.people import among, people_page, reading_page
from foveola.report.views import HitShape, Images, SearchShape

__all__ = [
    "HitShape",
    "Images",
    "Pair",
    "Photograph",
    "SearchShape",
    "among",
    "demo_page",
    "evaluation_page",
    "pairs_page",
    "people_page",
    "reading_page",
    "search_page",
    "write_page",
]
