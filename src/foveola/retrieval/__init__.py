"""Image in, similar cases out."""

from foveola.retrieval.results import Hit, Marks, Query, SearchResult
from foveola.retrieval.retriever import Archive, Retriever, check_two

__all__ = ["Archive", "Hit", "Marks", "Query", "Retriever", "SearchResult", "check_two"]
