"""Matching and the audit of identities: only where matching is on, and every use is logged."""

import threading
from dataclasses import dataclass
from pathlib import Path

from foveola.duplicates import registration
from foveola.errors import FoveolaError
from foveola.images.decode import decode
from foveola.images.pictures import jpeg, small
from foveola.matching import permission
from foveola.matching.match import CANDIDATES, MatchResult
from foveola.matching.pair import chessboard, read_square
from foveola.matching.permission import Permission
from foveola.matching.saved_audit import Decision, SavedAudit, SavedFinding, Verdict, decide, decisions, load_audit
from foveola.matching.worklist import audit_archive, laid_over
from foveola.server.auth.context import LARGE, account, record_access
from foveola.server.errors import nameless
from foveola.server.services.memory import LRUCache, Pixels, SessionStore
from foveola.server.services.search import NAME, SearchService

BOARDS = 32


@dataclass(frozen=True, eq=False)
class Matched:
    """A photograph whose eye was looked for.

    Attributes:
        result: what was found.
        square: its prepared field of view.
        thumbnail: JPEG.
        boards: chessboards with candidates, by their rank.
    """

    result: MatchResult
    square: Pixels
    thumbnail: bytes
    boards: LRUCache[bytes | None]


@dataclass
class Run:
    """An audit under way: photographs done and to do; `fault` says why it ended early."""

    total: int
    done: int = 0
    going: bool = True
    fault: str = ""


class MatchingService:
    """Who is who in an archive. Safe to use from several threads.

    Args:
        service: of the archive.
    """

    def __init__(self, service: SearchService) -> None:
        self.service = service
        self.folder = service.retriever.archive.folder
        self.matches: SessionStore[Matched] = SessionStore()
        self.run: Run | None = None
        self._boards: LRUCache[bytes | None] = LRUCache(BOARDS)
        self._lock = threading.Lock()

    def allowed(self) -> Permission | None:
        """Return what matching is allowed for; None where it is switched off."""
        if not (self.folder / permission.SETTINGS).exists():
            return None
        return permission.permission(self.folder)

    def match(self, data: bytes, visit: float | str | None, prior: float) -> str:
        """Look for other photographs of an eye; returns the token of the answer.

        Raises:
            MatchingError: matching is switched off, or can't be logged.
            ImageError: it is no photograph that can be used, or shows no retina.
        """
        by = account() or "page"
        result = self.service.models.match(data, CANDIDATES, visit, prior, by=by)
        pixels = decode(data, min_side=registration.SIDE, name=NAME)
        square = registration.square(pixels)
        return self.matches.put(Matched(result, square, small(pixels), LRUCache(BOARDS)))

    def board(self, matched: Matched, rank: int) -> bytes | None:
        """Lay query and candidate over each other, as a JPEG; None where that shows nothing."""
        found = next((c for c in matched.result.candidates if c.rank == rank), None)
        if found is None or not found.evidence.inliers:
            return None
        held = self.service.retriever.archive.find(path=found.case.path)
        if held is None:  # removed since
            return None
        record_access([held[0]], LARGE)

        def make() -> bytes | None:
            other = read_square(Path(found.case.path))
            return None if other is None else jpeg(chessboard(matched.square, other, found.affine))

        return matched.boards.get(rank, make)

    def worklist(self) -> SavedAudit | None:
        """Return the findings of the last audit; None where there was none."""
        ids, _ = self.service.retriever.archive.vectors()
        return load_audit(self.folder, ids.tolist())

    def decided(self) -> dict[str, Decision]:
        """Return decisions by the key of their finding."""
        return decisions(self.folder)

    def decide(self, key: str, verdict: Verdict, note: str, by: str | None = None) -> None:
        """Record a decision.

        Raises:
            MatchingError: matching is switched off, or it is no decision on a finding.
        """
        permission.permission(self.folder)
        decide(self.folder, key, verdict, note, by)

    def evidence(self, finding: SavedFinding) -> bytes | None:
        """Lay the two photographs of a finding over each other; None where that shows nothing."""
        if len(finding.ids) != 2 or "features that agree" not in finding.evidence:
            return None
        first, second = (Path(self.service.case(id_).path) for id_ in finding.ids)
        record_access(finding.ids, LARGE)
        return self._boards.get(finding.key, lambda: laid_over(first, second))

    def start(self) -> None:
        """Audit the archive, beside the requests; a second call while one goes on does nothing.

        Raises:
            MatchingError: matching is switched off.
        """
        permission.permission(self.folder)
        with self._lock:
            if self.run is not None and self.run.going:
                return
            self.run = Run(2 * len(self.service.retriever.archive))
            threading.Thread(target=self._audit, args=(self.run,), daemon=True).start()

    def _audit(self, run: Run) -> None:
        def advance(count: int) -> None:
            run.done += count

        try:
            audit_archive(self.folder, progress=advance)
        except (FoveolaError, OSError) as error:
            said = str(error) if isinstance(error, FoveolaError) else str(error.strerror)
            run.fault = nameless(said, self.folder)
        finally:
            run.going = False
