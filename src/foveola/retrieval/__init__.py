"""Image in, similar cases out."""

from foveola.retrieval.results import Hit, Query, SearchResult
from foveola.retrieval.retriever import Retriever

__all__ = ["Hit", "Query", "Retriever", "SearchResult"]
