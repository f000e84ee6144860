"""Cases like one place of a photograph."""

import threading
from functools import cached_property
from typing import Any

from foveola.images.decode import decode
from foveola.regions import Box, Places, RegionResult, RegionSearch
from foveola.server.auth.context import discreet, record_access
from foveola.server.services.memory import LRUCache, Sent
from foveola.server.services.search import NAME, SearchService

PLACES = 64  # photographs asked about whose places are kept


class RegionService:
    """Region search on a service's archive, begun at the first question. Safe to use from several threads.

    Args:
        service: of the archive.
    """

    def __init__(self, service: SearchService) -> None:
        self._service, self._lock = service, threading.Lock()
        self._places: LRUCache[Places] = LRUCache(PLACES)

    def check(self) -> None:
        """Refuse an archive that does not keep its places.

        Raises:
            RegionError: it does not.
        """
        _ = self._search

    def of_sent(self, sent: Sent, region: Box, k: int, where: str | None) -> RegionResult:
        """Find the cases with a place most like one of a photograph that is kept.

        Raises:
            RegionError, FilterError: see `RegionSearch.search`.
        """
        search, query = self._search, sent.query
        places = self._places.get(
            (query.digest, query.case.eye), lambda: search.look(decode(sent.picture.jpeg, name=NAME), query)
        )
        result: RegionResult = discreet(search.search(query, places, region, k, where=where))
        record_access(hit.id for hit in result.hits)
        return result

    def of_file(self, data: bytes, region: Box, k: int, where: str | None, **known: Any) -> RegionResult:
        """Find the same for a photograph that is not kept; `known` as for `SearchService.read`.

        Raises:
            RegionError, FilterError: see `RegionSearch.search`.
            ImageError: it is no photograph that can be used.
        """
        search = self._search
        query = self._service.embed(data, **known)
        result: RegionResult = discreet(search.search(query, search.look_at(data, query), region, k, where=where))
        return result

    @property
    def _search(self) -> RegionSearch:
        with self._lock:
            return self._opened

    @cached_property
    def _opened(self) -> RegionSearch:
        return RegionSearch(self._service.retriever)
