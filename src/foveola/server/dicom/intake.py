"""Take DICOM images in, one by one or a folder: de-identify, store, index. Nothing twice or lost by a kill.

    names reserved (durable) -> file in the store (durable) -> in the archive -> noted as indexed

A kill between two steps leaves an object that its sender sends again, as it was not
acknowledged; `recover` finishes what had reached the store. What `take` returned from is safe.
No name of a file or folder is kept or told: exports are often named after their patient.
"""

import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from foveola.archive import Archive
from foveola.encoders.encoder import Encoder, Failed
from foveola.errors import ArchiveError, ImageError, PacsError
from foveola.files import write_whole
from foveola.images.dicom import decode_dicom, require_pydicom
from foveola.images.kinds import ODD, PassedOver, files_in
from foveola.images.limited import POOL
from foveola.images.limits import DEFAULT_LIMITS, Limits
from foveola.indexing import index_cases, open_archive
from foveola.learned import refresh
from foveola.records import Case, Eye
from foveola.resources import Closing, remove_killed, sync_folder
from foveola.server.dicom.patients import Identity
from foveola.server.dicom.pseudonyms import Names, Pseudonyms
from foveola.trust import load

COLLECTION = "pacs"
TOGETHER = 32  # objects encoded in one go by `take_many`
GROWTH = 1.02  # of the archive, after which similarities are weighed anew (foveola.trust)
UNREADABLE = "the file can't be read; look at its rights and the disk"
_CALLS = "foveola.server.dicom.deidentify"
_LOOKED = 512  # pixels of the smaller side that two pictures of one UID are compared at, for JPEG
# Grey levels, on average: two decoders of one lossy stream differ by less, two photographs by more.
_ALIKE = 3.0
OTHER_PICTURE = (
    "its SOP Instance UID (0008,0018) is that of an image that came before with other pixels; the "
    "first one stays, and this one is not taken. If it was corrected, remove its case first"
)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An object that is in the archive now.

    Attributes:
        ids: of its cases, one a frame.
        new: whether it was not there before.
        pseudonym: of its patient.
        sop_instance_uid: the new one; of the first frame.
        sop_instance_uids: of all frames, as `ids`.
        failed: reasons why frames could not be used, without them `ids` is shorter.
        doubt: what has to be told of whose it is, a sentence without patients' data, or "".
        hardly_gradable: how many of its frames, if new, may be too dark or blurred to be graded.
    """

    ids: tuple[int, ...]
    new: bool
    pseudonym: str
    sop_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    failed: tuple[str, ...] = ()
    doubt: str = ""
    hardly_gradable: int = 0


@dataclass(frozen=True)
class Refused:
    """An object that can't be used, with the reason in one sentence."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class _Staged:
    """An object whose files are in the store."""

    names: Names
    paths: tuple[Path, ...]
    new: bool


class _Became(NamedTuple):
    """What became of files: why some could not be used, and which may not be gradable."""

    failed: dict[Path, str]
    doubtful: frozenset[Path]


class Intake(Closing):
    """Takes DICOM images into an archive; a context manager, safe to use from several threads.

    Args:
        archive: its folder; made if it is not there.
        store: folder for the de-identified files, made if it is not there; not inside the archive.
        pseudonyms: the file of pseudonyms, outside both.
        collection: name space of the pseudonyms in the archive.
        encoder: for a new archive; None takes the shipped one.
        limits: what one object may cost.

    Raises:
        PacsError: the pseudonyms or the store would lie inside the archive, or can't be used.
        ArchiveError, EncoderError: the archive can't be opened.
        MissingExtraError: pydicom is not installed.
    """

    def __init__(
        self,
        archive: Path,
        store: Path,
        pseudonyms: Path,
        *,
        collection: str = COLLECTION,
        encoder: str | Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        require_pydicom()
        self.store = store.absolute()
        if self.store.resolve().is_relative_to(archive.resolve()):
            raise PacsError(f"the store {store} would lie in the archive; name a folder outside it")
        self.collection = collection
        self._limits = limits
        self._lock = threading.RLock()
        self._grown = False
        self._archive, own = open_archive(archive, encoder)
        try:
            self.store.mkdir(parents=True, exist_ok=True)
            self.pseudonyms = Pseudonyms(pseudonyms, outside=(archive, store))
            self._encoder = Encoder.load(own)
        except BaseException:
            self._archive.close()
            raise

    @property
    def archive(self) -> Archive:
        """Return the archive, open for writing."""
        return self._archive

    def close(self) -> None:
        """Weigh the archive's similarities anew if it has grown, and give all files back."""
        with self._lock:
            if self._grown:
                self._grown = False
                refresh(self._archive)
            self._archive.close()
            self.pseudonyms.close()

    def take(self, data: bytes) -> Taken:
        """Take one DICOM file in; on return it is on the disk and can be found.

        Raises:
            ImageError: it can't be used; nothing of it is kept.
            PacsError, ArchiveError, OSError: it could not be stored now; try again.
        """
        (taken,) = self.take_many([data])
        if isinstance(taken, Refused):
            raise ImageError(taken.reason)
        return taken

    def take_many(self, objects: Iterable[bytes]) -> list[Taken | Refused]:
        """Take several files in; faster than one by one, as they are encoded on all cores.

        Returns:
            What became of each, in their order.

        Raises:
            PacsError, ArchiveError, OSError: the rest could not be stored now; try again.
        """
        results: list[Taken | Refused] = []
        batch: list[_Staged | Refused] = []
        with self._lock:
            for data in objects:
                batch.append(self._stage(data))
                if len(batch) == TOGETHER:
                    results += self._finish(batch)
                    batch = []
            results += self._finish(batch)
        return results

    def recover(self) -> int:
        """Index what a kill left in the store; how many frames that were.

        Call it once at the start. What another process is about to index is indexed by both,
        to the same end.
        """
        with self._lock:
            remove_killed(self.store.glob("*/.*.dcm.*"))
            begun = self.pseudonyms.unfinished()
            paths = [path for path in (self._path(*one) for one in begun) if path.exists()]
            return len(paths) - len(self._index(paths).failed)

    def _stage(self, data: bytes) -> _Staged | Refused:
        """Put the de-identified files of an object into the store."""
        try:
            facts, _ = self._call("identify", data)
            names = self.pseudonyms.reserve(Identity(**facts))
            paths = tuple(self._path(names.pseudonym, uid) for uid in names.instances)
            made, data = self._call("rewrite", data, names=asdict(names))
            ends = accumulate(made["sizes"])  # the files came one after the other
            parts = [data[end - size : end] for size, end in zip(made["sizes"], ends, strict=True)]
            files = dict(zip(paths, parts, strict=True))
            known, there = self._there(paths)
            for path in there:
                self._check_same(path, files[path])
        except ImageError as error:
            return Refused(str(error))
        if new := {path: file for path, file in files.items() if path not in there}:
            self._write(new)
        return _Staged(names=names, paths=paths, new=len(known) < len(paths))

    def _there(self, paths: Sequence[Path]) -> tuple[set[Path], set[Path]]:
        """Which files of the store are in the archive, and with them those on their way into it."""
        kept = [path for path in paths if path.exists()]
        known = {path for path in kept if self._archive.find(path=str(path)) is not None}
        begun = {uid for _, uid in self.pseudonyms.unfinished()} if kept else set()
        return known, known | {path for path in kept if path.stem in begun}

    def _check_same(self, path: Path, file: bytes) -> None:
        """Refuse another picture under the SOP Instance UID of one that is there.

        Raises:
            ImageError: the pixels differ by more than another decoder makes them.
        """
        stored = path.read_bytes()
        if stored == file:
            return
        one, other = (decode_dicom(data, self._limits, min_side=_LOOKED).astype(np.int16) for data in (stored, file))
        if one.shape != other.shape or np.abs(one - other).mean() > _ALIKE:
            raise ImageError(OTHER_PICTURE)

    def _call(self, name: str, data: bytes, **arguments: Any) -> tuple[dict[str, Any], bytes]:
        return POOL.call(
            f"{_CALLS}:{name}", data, seconds=self._limits.max_seconds, limits=asdict(self._limits), **arguments
        )

    def _path(self, pseudonym: str, uid: str) -> Path:
        return self.store / pseudonym / f"{uid}.dcm"

    def _write(self, files: Mapping[Path, bytes]) -> None:
        folder = next(iter(files)).parent
        if not folder.exists():
            folder.mkdir()
            sync_folder(self.store)
        for path, data in files.items():
            write_whole(path, data)

    def _finish(self, batch: Sequence[_Staged | Refused]) -> list[Taken | Refused]:
        """Index what was staged, and say what became of each."""
        staged = [one for one in batch if isinstance(one, _Staged) and one.new]
        paths = list(dict.fromkeys(path for one in staged for path in one.paths))
        became = self._index(paths)
        seen: set[Path] = set()
        return [one if isinstance(one, Refused) else self._taken(one, became, seen) for one in batch]

    def _taken(self, one: _Staged, became: _Became, seen: set[Path]) -> Taken | Refused:
        reasons = tuple(became.failed[path] for path in one.paths if path in became.failed)
        good = [path for path in one.paths if path not in became.failed]
        if not good:
            return Refused(reasons[0])
        new = one.new and good[0] not in seen  # the same object twice in one batch
        seen.update(good)
        found = [self._archive.find(path=str(path)) for path in good]
        return Taken(
            ids=tuple(case[0] for case in found if case is not None),
            new=new,
            pseudonym=one.names.pseudonym,
            sop_instance_uid=good[0].stem,
            sop_instance_uids=tuple(path.stem for path in good),
            failed=reasons,
            doubt=one.names.doubt,
            hardly_gradable=sum(path in became.doubtful for path in good) if new else 0,
        )

    def _index(self, paths: Sequence[Path]) -> _Became:
        """Index files of the store; those that can't be used are removed from it again."""
        if not paths:
            return _Became({}, frozenset())
        cases = [self._case(path) for path in paths]
        good = [case for case in cases if isinstance(case, Case)]
        bad = [case for case in cases if isinstance(case, Failed)]
        done = index_cases(self._archive, self._encoder, good, weigh=False)
        failed = {  # without the name of the file, which the sender does not know
            (path := Path(item.case.path)): item.reason.removeprefix(f"{path.name}: ") for item in (*bad, *done.failed)
        }
        for path in failed:
            path.unlink(missing_ok=True)
        self.pseudonyms.drop([path.stem for path in failed])
        self.pseudonyms.indexed([path.stem for path in paths if path not in failed])
        if done.added:
            self._weigh()
        return _Became(failed, frozenset(Path(item.case.path) for item in done.doubtful))

    def _case(self, path: Path) -> Case | Failed:
        """The record of a stored file: only what is left of it after de-identification."""
        case = Case(image=path.name, path=str(path), subject=path.parent.name, collection=self.collection)
        try:
            facts, _ = self._call("describe", path.read_bytes())
        except (ImageError, OSError) as error:
            return Failed.of(case, error)
        extra = {"camera": facts["camera"]} if facts["camera"] else {}
        return replace(case, eye=cast(Eye | None, facts["eye"]), visit=facts["visit"], extra=extra)

    def _weigh(self) -> None:
        """Learn what similarities are worth, but not anew with every single photograph."""
        self._grown = True
        try:
            kept = load(self._archive)
        except ArchiveError:  # damaged; it is made anew
            kept = None
        if kept is None or len(self._archive) > GROWTH * kept.cases:
            refresh(self._archive)
            self._grown = False


@dataclass(kw_only=True)
class FolderTaken:
    """What became of a folder.

    Attributes:
        added: objects that are new in the archive.
        unchanged: objects that were there already.
        refused: objects that could not be used, by reason.
        doubtful: cases of which it is not sure whose they are, by the sentence that says why.
        others: files that are not DICOM, passed over.
        passed: what else was passed over.
        hardly_gradable: frames of the added that may be too dark or blurred to be graded.
    """

    added: int = 0
    unchanged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    doubtful: dict[str, list[int]] = field(default_factory=dict)
    others: int = 0
    passed: PassedOver = field(default_factory=PassedOver)
    hardly_gradable: int = 0


def find_files(folder: Path, passed: PassedOver) -> list[Path]:
    """Find every file in folder and below, in order of path; hidden ones and DICOMDIR are left out.

    Args:
        folder: where to look.
        passed: counts what is passed over.

    Raises:
        PacsError: there is no such folder, or it can't be read.
    """
    if not folder.is_dir():
        raise PacsError(f"{folder} is not a folder; expected dicom:// and a folder of DICOM files")
    try:
        return [path for path in files_in(folder, passed) if path.name != "DICOMDIR"]  # the table of contents of a disc
    except OSError as error:
        raise PacsError(f"{folder} can't be read: {error.strerror}") from None


def take_folder(intake: Intake, files: list[Path], progress: Callable[[int], None] | None = None) -> FolderTaken:
    """Take the DICOM images among files in; run again, it takes only what is new.

    Args:
        intake: where to.
        files: from `find_files`.
        progress: called with the number of files just dealt with.

    Raises:
        PacsError, ArchiveError, OSError: the rest could not be stored; what was taken stays.
    """
    done = FolderTaken()
    for start in range(0, len(files), TOGETHER):
        together = files[start : start + TOGETHER]
        for result in intake.take_many(_objects(together, done)):
            if isinstance(result, Refused):
                done.refused[result.reason] += 1
                continue
            done.added += result.new
            done.unchanged += not result.new
            done.hardly_gradable += result.hardly_gradable
            if result.doubt:
                done.doubtful.setdefault(result.doubt, []).extend(result.ids)
        if progress:
            progress(len(together))
    return done


def _objects(files: list[Path], done: FolderTaken) -> Iterator[bytes]:
    """The bytes of those that are DICOM; the rest is counted."""
    for path in files:
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
                done.passed.add(ODD)
                continue
            with path.open("rb") as file:
                if file.read(132)[128:] != b"DICM":
                    done.others += 1
                    continue
                file.seek(0)
                yield file.read(DEFAULT_LIMITS.max_bytes + 1)
        except OSError:
            done.refused[UNREADABLE] += 1
