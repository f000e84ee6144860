"""Image in, similar cases out."""

from foveola.retrieval.feedback import Marks
from foveola.retrieval.results import Hit, Query, SearchResult
from foveola.retrieval.retriever import Retriever, check_two

__all__ = ["Hit", "Marks", "Query", "Retriever", "SearchResult", "check_two"]
