"""Reports that are owed to a PACS, noted on the disk until they are sent."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from foveola.errors import ArchiveError, EncoderError, FoveolaError, PacsError
from foveola.server.dicom.spool import replace_file

GIVEN_UP = 24 * 3600.0  # seconds after which a report that can't be sent is owed no longer
IN_A_ROW = 3  # failures after which the PACS is left alone for a while


class Answers:
    """Which cases the PACS is to get a report on.

    Args:
        folder: for the notes, named by the numbers of the cases; made if it is not there.
        reply: searches with a case and sends the report; None owes nothing. PacsError,
            ArchiveError, EncoderError and OSError mean that it should be tried again.
        say: told in one sentence what went wrong.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        reply: Callable[[int], object] | None,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._reply, self._say, self._clock = folder, reply, say, clock
        self._said: str | None = None
        if reply is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def owe(self, ids: Iterable[int]) -> None:
        """Note that a report on these cases is to be sent."""
        if self._reply is None:
            return
        for id_ in ids:
            replace_file(self._folder / str(id_), f"{self._clock()}".encode())

    def pay(self) -> int:
        """Send what is owed, what waited longest first; returns how many are owed still."""
        if self._reply is None:
            return 0
        failed = 0
        for path in sorted(self._notes(), key=lambda path: path.stat().st_mtime_ns):
            failed = 0 if self._one(path, self._reply) else failed + 1
            if failed == IN_A_ROW:
                break
        return len(self._notes())

    def _notes(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.name.isdecimal()]

    def _one(self, path: Path, reply: Callable[[int], object]) -> bool:
        """Whether a report is owed no longer."""
        try:
            reply(int(path.name))
            self._said = None
        except (PacsError, ArchiveError, EncoderError, OSError) as error:
            if self._clock() - _since(path) < GIVEN_UP:
                self._complain(f"reports wait: {error}")
                path.touch()  # the next in turn
                return False
            self._say(f"the report on case {path.name} is given up: {error}")
        except FoveolaError as error:
            self._say(f"there is no report on case {path.name}: {error}")
        path.unlink(missing_ok=True)
        return True

    def _complain(self, sentence: str) -> None:
        if sentence != self._said:
            self._say(sentence)
        self._said = sentence


def _since(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0


__all__ = ["GIVEN_UP", "IN_A_ROW", "Answers"]
