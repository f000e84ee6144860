"""The models that a service needs beside its archive's encoder, loaded when first asked."""

import threading
from functools import cached_property
from pathlib import Path
from typing import Any

from foveola.encoders.compiling import WAITED_FOR
from foveola.encoders.reading_model import ReadingModel
from foveola.images.decode import decode, stated
from foveola.laterality import check_eye, shipped_sides
from foveola.looks import Looker
from foveola.matching import gallery, permission
from foveola.matching.match import Matcher, MatchResult
from foveola.people import EYES
from foveola.people_search import PersonResult
from foveola.reading import Reading, prepare_eye, read_prepared
from foveola.records import Case, Eye
from foveola.retrieval import Retriever
from foveola.server.auth.context import discreet

SENT = "the photograph"


class Models:
    """Reads both eyes and finds the same eye. Safe to use from several threads.

    Args:
        retriever: of the archive.
    """

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._folder = retriever.archive.folder
        self._loading = threading.RLock()
        self._matcher: tuple[object, Matcher] | None = None

    def close(self) -> None:
        """Close what was opened."""
        with self._loading:
            if self._matcher is not None:
                self._matcher[1].archive.close()
                self._matcher = None

    @property
    def reader(self) -> ReadingModel:
        """Return the shipped reader."""
        with self._loading:
            return self._reader

    @property
    def looker(self) -> Looker:
        """Return what tells whether a photograph shows a retina."""
        with self._loading:
            return self._looker

    def read(self, photographs: dict[Eye, bytes]) -> Reading:
        """Read the photographs of one person.

        Raises:
            ImageError: one is no photograph that can be used, none shows a retina, or both are one
                or surely of one side.
        """
        reader, looker = self.reader, self.looker
        side = reader.release.contract.min_side
        for eye, data in photographs.items():
            check_eye(stated(data).eye, eye, name(eye))
        pixels = {eye: decode(data, min_side=side, name=name(eye)) for eye, data in photographs.items()}
        sides = shipped_sides() if len(pixels) == len(EYES) else None
        return read_prepared(reader, {eye: prepare_eye(reader, each, looker, sides) for eye, each in pixels.items()})

    def similar(self, photographs: dict[Eye, bytes], k: int, where: str | None, **person: Any) -> PersonResult:
        """Find the people of the archive most like that one.

        Raises:
            ArchiveError: the archive does not know whose photographs it has.
            FilterError: the condition can't be understood.
            ImageError: as from `Retriever.embed`.
        """
        asked = {eye: self._retriever.embed(data, name(eye), eye=eye, **person) for eye, data in photographs.items()}
        found: PersonResult = discreet(self._retriever.search_person_query(asked, k, where=where))
        return found

    def match(self, data: bytes, candidates: int, visit: float | str | None, prior: float, **facts: str) -> MatchResult:
        """Look for other photographs of an eye; see `foveola.matching.match.Matcher.match`.

        Raises:
            MatchingError: matching is switched off, or the use can't be logged.
            ImageError: it is no photograph that can be used, or shows no retina.
        """
        given = Case(image=SENT, path=f"sent:{SENT}")
        matcher = self._opened()
        return matcher.match_sent(data, given, candidates=candidates, visit=visit, prior=prior, **facts)

    def _opened(self) -> Matcher:
        """The matcher; opened again when matching was switched off and on in between."""
        permission.permission(self._folder)  # may have been withdrawn a moment ago
        with self._loading:
            now = _stamp(self._folder)
            if self._matcher is None or self._matcher[0] != now:
                self.close()
                self._matcher = now, Matcher.open(self._folder, self._looker)
            return self._matcher[1]

    @cached_property
    def _looker(self) -> Looker:
        return Looker.shipped(self._retriever.looker, together=WAITED_FOR)

    @cached_property
    def _reader(self) -> ReadingModel:
        return ReadingModel.load(together=WAITED_FOR)


def name(eye: Eye) -> str:
    """Return what an error calls the photograph of an eye."""
    return f"the {eye} photograph"


def _stamp(folder: Path) -> object:
    """Which permission and which gallery these are."""
    files = (folder / permission.SETTINGS, folder / gallery.FOLDER / "archive.sqlite")
    return tuple(
        (s.st_ino, s.st_ctime_ns if i == 0 else 0) for i, f in enumerate(files) if f.exists() for s in [f.stat()]
    )
