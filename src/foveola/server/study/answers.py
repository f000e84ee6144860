"""What readers answered: one line each, on the disk before the next pair is shown."""

import logging
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from foveola import files
from foveola.errors import StudyError

FILE = "answers.jsonl"
SCALE = 5  # 1 to 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        reader: code.
        item: number of the pair.
        order: place in the reader's order, from 1.
        similar: how alike, 1 to 5.
        useful: how useful it would have been, 1 to 5.
        seconds: from the pair's being shown to the answer, by the reader's own clock.
        server_seconds: the same by ours, with the network in it; None after a restart.
        time: when, ISO 8601 in UTC.
    """

    reader: str
    item: int
    order: int
    similar: int
    useful: int
    seconds: float | None
    server_seconds: float | None
    time: str = ""


class Answers:
    """The answers of a study. Safe to use from several threads of one process.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()

    def add(self, answer: Answer) -> bool:
        """Keep an answer; False where this reader has answered this pair before, which stays.

        Raises:
            StudyError: it is no answer, or it can't be written.
        """
        for value in (answer.similar, answer.useful):
            if not 1 <= value <= SCALE:
                raise StudyError(f"expected an answer from 1 to {SCALE}, got {value}")
        with self._lock:
            if any(a.reader == answer.reader and a.item == answer.item for a in self.all()):
                return False
            made = asdict(answer) | {"time": datetime.now(UTC).isoformat(timespec="seconds")}
            try:
                files.append_line(self._path, made)
            except OSError as error:
                raise StudyError(
                    f"the answer can't be kept ({error.strerror}); make the study's folder writable"
                ) from None
            return True

    def all(self) -> list[Answer]:
        """All answers as they came.

        Left out is a line that a crash cut short, or that was changed; a warning is logged then.
        """
        kept = files.read_lines(self._path)
        sound, found = kept.sound, []
        for _, values in kept.values:
            try:
                found.append(Answer(**values))
            except TypeError:
                sound = False
        if not sound:
            _log.warning("%s: answers are missing, or can't be read and are left out", FILE)
        return found
