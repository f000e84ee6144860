"""What requests share: one archive, opened for reading, and its encoder; and the search by one place in it."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola.answers import Order
from foveola.archive import ArchiveInfo
from foveola.encoders.parts import Parts
from foveola.errors import ImageError
from foveola.explain import occlusion_map, removal_maps
from foveola.images.decode import decode, read_bytes, same_scale
from foveola.images.fundus import prepare
from foveola.images.pictures import shares, small
from foveola.laterality import Sides
from foveola.records import Case, Eye
from foveola.regions import Box, Places, RegionResult, RegionSearch
from foveola.retrieval import Marks, Query, Retriever, SearchResult
from foveola.server.auth.context import LARGE, discreet, hidden_columns, may_match, record_access
from foveola.server.metrics import Metrics
from foveola.server.services.filters import Chosen
from foveola.server.services.memory import PIXELS, LRUCache, Picture, Queries, Sent, heat, picture
from foveola.server.services.models import Models

NAME = "the photograph"  # stands for the name of a file, which may be a patient's
THUMBNAILS, PICTURES, MAPS = 4096, 64, 64
PLACES = 64  # photographs asked about whose places are kept
Maps = NDArray[np.float32]


class SearchService:
    """An archive with what is looked at in it. Safe to use from several threads.

    Args:
        retriever: of the archive; closed with the service.
        metrics: that count what is asked; new ones if None.
    """

    def __init__(self, retriever: Retriever, metrics: Metrics | None = None) -> None:
        self.retriever = retriever
        retriever.archive.hidden = hidden_columns
        retriever.doubts_subjects = lambda: not may_match()
        self.models = Models(self.retriever)
        self.metrics = metrics or Metrics()
        self.queries = Queries()
        self._thumbnails: LRUCache[bytes | None] = LRUCache(THUMBNAILS)
        self._pictures: LRUCache[Picture] = LRUCache(PICTURES)
        self._features: LRUCache[Maps] = LRUCache(MAPS)
        self._covered: LRUCache[bytes] = LRUCache(2 * MAPS)
        self._ids: NDArray[np.int64] | None = None
        self._parting = threading.Lock()  # one request at a time: a compiled part is not shared
        self._warm: Future[None] = Future()
        self._warming = threading.Thread(target=self._warm_up, name="warming")
        self._warming.start()

    def _warm_up(self) -> None:
        try:
            self.retriever.warm()
        except Exception as error:
            self._warm.set_exception(error)
        else:
            self._warm.set_result(None)

    def ready(self, seconds: float) -> bool:
        """Return whether a search would be answered without delay; waits for that as long as told.

        Raises:
            ArchiveError, EncoderError: it would not be, and why.
        """
        try:
            self._warm.result(seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close the archive."""
        self._warming.join()
        self.models.close()
        self.retriever.close()

    def info(self) -> ArchiveInfo:
        """Say what the archive holds."""
        return replace(self.retriever.archive.info(), learned=self.retriever.labels())

    @property
    def card(self) -> dict[str, object]:
        """Return what a report says of the encoder."""
        encoder = self.retriever.encoder
        return {"name": encoder.name, "fingerprint": encoder.fingerprint}

    def receive(
        self,
        data: bytes,
        eye: Eye | None = None,
        subject: str | None = None,
        collection: str = "",
        sides: Sides | None = None,
    ) -> str:
        """Read, encode and keep a photograph that was sent; returns its token.

        Args:
            data: the file.
            eye: which it shows, where that is known.
            subject: pseudonym of whose it is, whose photographs are left out of what is found.
            collection: name space of that pseudonym.
            sides: tells which eye it shows, where it is one of two.

        Raises:
            ImageError: it is no photograph that can be used.
        """
        pixels = decode(data, min_side=PIXELS, name=NAME)
        once = same_scale(data, PIXELS, self.retriever.encoder.contract.min_side)
        query = self.embed(data, eye, subject, collection, pixels if once else None, sides)
        return self.queries.put(query, pixels)

    def embed(
        self,
        data: bytes,
        eye: Eye | None = None,
        subject: str | None = None,
        collection: str = "",
        pixels: NDArray[np.uint8] | None = None,
        sides: Sides | None = None,
    ) -> Query:
        """Read and encode it without keeping it; `pixels` are given where they were decoded already."""
        with self.metrics.encoding.time():
            return self.retriever.embed(
                data, NAME, subject=subject, collection=collection, eye=eye, pixels=pixels, sides=sides
            )

    def receive_case(self, id_: int) -> str:
        """Ask about a case of the archive itself; returns a token.

        Raises:
            ArchiveError: there is no such case.
            ImageError: its file can't be read any more.
        """
        case = self.case(id_)
        record_access([id_], LARGE)  # its picture is that of the query from now on
        try:
            data = read_bytes(Path(case.path))
        except ImageError:
            raise _gone(id_) from None
        return self.receive(data, case.eye)

    def search(self, sent: Sent, chosen: Chosen) -> SearchResult:
        """Find the cases most like a photograph that was sent, as it was ticked and marked.

        Raises:
            FilterError: the condition can't be understood.
            ArchiveError: the archive has not learnt what it is to be ordered by.
        """
        return self.search_query(
            sent.query, chosen.count, chosen.condition(), chosen.marks, by=chosen.order, label=chosen.label or None
        )

    def search_query(
        self,
        query: Query,
        k: int,
        where: str | None = None,
        marks: Marks | None = None,
        *,
        by: Order | None = None,
        label: str | None = None,
    ) -> SearchResult:
        """Find the cases most like a photograph that was read.

        Raises:
            FilterError: the condition can't be understood.
            ArchiveError: the archive has not learnt what it is to be ordered by.
        """
        with self.metrics.searching.time():
            result: SearchResult = discreet(
                self.retriever.search_query(query, k, where=where, marks=marks or Marks(), by=by, label=label)
            )
        record_access(hit.id for hit in result.hits)
        return result

    def case(self, id_: int) -> Case:
        """Return a case.

        Raises:
            ArchiveError: there is none with this id.
        """
        case = self.retriever.archive.case(id_)
        record_access([id_])
        return case

    def visits(self, id_: int) -> list[tuple[int, Case]]:
        """List all photographs of a case's subject, by visit, this one among them."""
        case = self.case(id_)
        archive = self.retriever.archive
        with archive.state() as state:
            rows = np.flatnonzero(state.of_identity(case.identity)).tolist()
            ids = state.ids[rows].tolist()
            found = list(zip(ids, state.cases(rows), strict=True))
        record_access(ids)
        return sorted(found, key=lambda pair: (*_when(pair[1]), pair[1].eye or "", pair[0]))

    def similarity(self, sent: Sent, id_: int) -> float:
        """Compute the cosine of a photograph that was sent and a case."""
        return float(self._descriptor(id_) @ sent.query.descriptor)

    def thumbnail(self, id_: int) -> bytes | None:
        """Make a small JPEG of a case's field of view; None where its file can't be read."""

        def make() -> bytes | None:
            try:
                return small(self._pixels(id_))
            except ImageError:
                return None

        return self._thumbnails.get(self._version(id_), make)

    def picture(self, id_: int) -> Picture:
        """Return a case's photograph.

        Raises:
            ArchiveError: there is no such case.
            ImageError: its file can't be read.
        """
        record_access([id_], LARGE)
        return self._pictures.get(self._version(id_), lambda: picture(self._pixels(id_)))

    def agreement(self, sent: Sent, id_: int) -> tuple[bytes, bytes]:
        """Map what makes a photograph and a case alike: a map for each, as PNGs of their fields."""
        version = self._version(id_)
        record_access([id_], LARGE)
        return sent.maps.get(version, lambda: self._agreement(sent, id_, version))

    def _agreement(self, sent: Sent, id_: int, version: object) -> tuple[bytes, bytes]:
        own = sent.features.get(None, lambda: self._map(decode(sent.picture.jpeg, name=NAME)))
        other = self._features.get(version, lambda: self._map(self._pixels(id_)))
        with self._parting:
            maps = removal_maps(own, other, self._parts)
        one, two = (heat(shares(each.contributions)) for each in maps)
        return one, two

    def occlusion(self, token: str, sent: Sent, id_: int, *, of_case: bool) -> bytes:
        """Map what the likeness of a photograph and a case loses where one of them is covered up, as a PNG."""
        case = self.case(id_)  # a case that was removed has no map, also where one was kept
        record_access([id_], LARGE)

        def make() -> bytes:
            encoder = self.retriever.encoder
            if of_case:
                pixels, eye, other = self._pixels(id_, encoder.contract.min_side), case.eye, sent.query.descriptor
            else:
                pixels, eye, other = decode(sent.picture.jpeg, name=NAME), sent.query.case.eye, self._descriptor(id_)
            parts = occlusion_map(prepare(pixels, encoder.contract, eye), other, encoder.encode).contributions
            return heat(shares(parts[:, ::-1] if encoder.contract.orient and eye == "left" else parts))

        return self._covered.get((token, id_, case.path, of_case), make)

    def _descriptor(self, id_: int) -> Maps:
        ids, matrix = self.retriever.archive.vectors()
        row: Maps = matrix[int(np.searchsorted(ids, id_))]
        return row

    def _map(self, pixels: NDArray[np.uint8]) -> Maps:
        with self._parting:
            return self._parts.features(pixels)

    def evict(self) -> None:
        """Drop from memory what was made of cases that are no longer in the archive."""
        ids, _ = self.retriever.archive.vectors()
        if ids is self._ids:  # the same array as long as the archive stays the same
            return
        self._ids, kept = ids, set(ids.tolist())

        def gone(version: object) -> bool:
            return isinstance(version, tuple) and version[0] not in kept

        for things in (self._thumbnails, self._pictures, self._features):
            things.drop(gone)
        self.queries.keep_only(kept)

    def _version(self, id_: int) -> object:
        """Of a case's photograph, to keep what was made of it by.

        A case that was removed has none (ArchiveError), and a file that changed has another.
        """
        self.evict()
        try:
            return id_, Path(self.case(id_).path).stat().st_mtime_ns
        except OSError:
            return id_, None

    @cached_property
    def _parts(self) -> Parts:
        encoder = self.retriever.encoder
        return Parts(encoder.release, encoder.threads)

    def _pixels(self, id_: int, min_side: int = PIXELS) -> NDArray[np.uint8]:
        case = self.case(id_)
        try:
            return decode(Path(case.path), min_side=min_side)
        except (ImageError, OSError):
            raise _gone(id_) from None


def _gone(id_: int) -> ImageError:
    return ImageError(f"the photograph of case {id_} can't be read any more")


def _when(case: Case) -> tuple[int, float, str]:
    """Visits in order: months before dates, and what is unknown last."""
    if case.visit is None:
        return 2, 0.0, ""
    return (1, 0.0, case.visit) if isinstance(case.visit, str) else (0, float(case.visit), "")


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
