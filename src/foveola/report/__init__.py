"""Reports for people: self-contained HTML pages of searches and evaluations."""

from foveola.report.pages import demo_page, evaluation_page, search_page, write_page
from foveola.report.pairs import Pair, Photograph, pairs_page
from foveola.report.people import people_page
from foveola.report.reading import among, reading_page
from foveola.report.shapes import HitShape, Images, SearchShape

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
