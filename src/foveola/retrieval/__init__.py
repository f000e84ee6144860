"""Image in, similar cases out."""

from foveola.retrieval.results import Hit, Marks, Query, SearchResult, check_two
from foveola.retrieval.retriever import Archive, Retriever

__all__ = ["Archive", "Hit", "Marks", "Query", "Retriever", "SearchResult", "check_two"]
