"""Put photographs into an archive: resumable, and a bad file never stops the rest."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from foveola.archive import Archive, Entry
from foveola.archive.database import ENCODER, ENCODER_PARTIAL, FILE, NEW, is_foreign
from foveola.archive.schema import fault_of
from foveola.encoders.encoder import Encoded, Encoder, Failed, FunctionEncoder
from foveola.encoders.release import DEFAULT, Release, read_release
from foveola.errors import ArchiveError, EncoderError
from foveola.files import stamp_of, write_whole
from foveola.images.gradability import WARN_BELOW
from foveola.learned import Learned, refresh
from foveola.looks import Looker
from foveola.records import Case
from foveola.relevance.learn import CLASSIFIER
from foveola.resources import AnyPath, beside, locked, sync_folder
from foveola.trust import FAMILIARITY, SEEN

# Photographs a transaction. A crash loses at most the work on these, about a second;
# one transaction a photograph would wait for the disk each time.
BATCH = 128
BESIDE = (FAMILIARITY, SEEN, CLASSIFIER)  # an encoder; not part of its fingerprint


@dataclass(frozen=True)
class Doubtful:
    """A photograph that was stored, but may not be gradable, or show no retina.

    Attributes:
        case: the photograph.
        gradability: from 0 to 1, see `foveola.images.gradability`.
        foreign: whether it does not look like a colour photograph of the retina.
    """

    case: Case
    gradability: float
    foreign: bool


@dataclass(frozen=True)
class Indexed:
    """What one run of `index_cases` did.

    Attributes:
        added: photographs encoded and stored.
        unchanged: photographs that were there already, with the same file.
        relabelled: of those, how many records were brought up to date.
        failed: those that can't be used, with the reason.
        doubtful: those of the added that may not be gradable, or show no retina.
        learned: what the archive learnt from its labels; None where that was left to later.
    """

    added: int
    unchanged: int
    relabelled: int
    failed: tuple[Failed, ...]
    doubtful: tuple[Doubtful, ...] = ()
    learned: Learned | None = None


def open_archive(folder: AnyPath, encoder: str | Path | FunctionEncoder | None = None) -> tuple[Archive, Path]:
    """Open an archive for adding, or make a new one.

    A new archive gets a copy of its encoder, so that it can be searched for as long as it
    exists, whatever later versions of Foveola ship.

    Args:
        folder: the archive.
        encoder: name or folder, or a function as encoder, of which a new archive keeps the name;
            None means the archive's own, or the shipped one for a new archive.

    Returns:
        The archive and the folder of its encoder. Close the archive when done.

    Raises:
        ArchiveError: it was made by another encoder than the one named, or can't be opened.
        EncoderError: the encoder can't be used.
    """
    folder = Path(folder)
    own = folder / ENCODER
    exists = (folder / FILE).exists()
    if isinstance(encoder, FunctionEncoder):
        release = encoder.release
    else:
        release = read_release(own if exists and encoder is None else encoder or DEFAULT)
    if exists:
        archive = Archive.open(folder, fingerprint=release.fingerprint)
        _complete(own, release)
        return archive, own
    if folder.exists() and any(is_foreign(p.name) for p in folder.iterdir()):
        if (folder / FILE).exists():  # by now: another process was first
            return open_archive(folder, encoder)
        raise ArchiveError(f"{folder} is neither an archive nor empty; choose a new folder for the archive")
    try:
        _create(folder, release, encoder if isinstance(encoder, FunctionEncoder) else None)
    except OSError as error:
        raise ArchiveError(f"{folder} can't be written: {error.strerror}") from None
    return Archive.open(folder, fingerprint=release.fingerprint), own


def _complete(own: Path, release: Release) -> None:
    """Give an archive's copy of a shipped encoder what later versions put beside that encoder."""
    missing = [name for name in BESIDE if not (own / name).exists()]
    with contextlib.suppress(EncoderError, OSError):  # one's own, or a full disk: it can do without
        shipped = read_release(release.name) if missing else release
        if shipped.fingerprint != release.fingerprint:
            return
        for name in missing:
            if (shipped.folder / name).exists():
                write_whole(own / name, (shipped.folder / name).read_bytes())


def _create(folder: Path, release: Release, function: FunctionEncoder | None) -> None:
    """Make an empty archive, wholly or not at all; where another process was first, take its.

    It is made under a private name and moved into its place by one process at a time. It lies
    within the folder, which may be a mounted disc, or all that may be written.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with beside(folder / NEW) as private:
            private.mkdir()
            if function is None:
                shutil.copytree(release.folder, private / ENCODER)
            else:
                function.save(private / ENCODER)
            Archive.create(
                private, encoder=release.name, fingerprint=release.fingerprint, dimension=release.dimension
            ).close()
            with locked(folder):
                if not (folder / FILE).exists():
                    _remove_remains(folder)
                    (private / ENCODER).rename(folder / ENCODER)
                    (private / FILE).rename(folder / FILE)
        for place in (folder, folder.parent):
            sync_folder(place)
    except BaseException:
        if new:  # nothing half-made stays; another process's archive is not empty
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _remove_remains(folder: Path) -> None:
    """Remove what a killed process, or an older Foveola, left of an archive it was making."""
    for name in (ENCODER, ENCODER_PARTIAL):
        shutil.rmtree(folder / name, ignore_errors=True)


def index_cases(
    archive: Archive,
    encoder: Encoder,
    cases: Sequence[Case],
    progress: Callable[[int], None] | None = None,
    *,
    weigh: bool = True,
) -> Indexed:
    """Encode and store what the archive does not hold yet.

    Killed at any moment and called again with the same cases, it ends with the archive that
    an undisturbed run would have made: cases enter in the order given, in transactions of
    BATCH, and a descriptor depends on its photograph alone. What labels look like
    and what similarities are worth is learnt anew at the end (`foveola.learned`).

    Args:
        archive: opened for writing.
        encoder: the archive's own.
        cases: the photographs.
        progress: called with the number of photographs just dealt with.
        weigh: learn from the archive; a caller who adds few at a time does it later.

    Raises:
        ArchiveError: the encoder is another than the archive's, the disk is full, or another
            process is writing. What was stored before stays.
    """
    if encoder.fingerprint != archive.fingerprint:
        raise ArchiveError(
            f"this archive was made by encoder {archive.name!r}, not by {encoder.name!r}; "
            "use the archive's own encoder, or index into a new folder"
        )
    new, unchanged, failed = _sort_out(archive, cases)
    relabelled = archive.update_records(unchanged) if unchanged else 0
    if progress and (done := len(unchanged) + len(failed)):
        progress(done)
    added = 0
    doubtful: list[Doubtful] = []
    looker = Looker(encoder)
    results = encoder.encode_cases(new)
    while batch := list(islice(results, BATCH)):
        good = [result for result in batch if isinstance(result, Encoded)]
        failed += [result for result in batch if isinstance(result, Failed)]
        if good:
            added += archive.add([entry_of(result) for result in good])
            doubtful += [
                Doubtful(result.case, result.gradability, foreign)
                for result in good
                if (foreign := looker.foreign(result)) or result.gradability < WARN_BELOW
            ]
        if progress:
            progress(len(batch))
    learned = refresh(archive, changed=bool(added or relabelled)) if weigh else None
    return Indexed(added, len(unchanged), relabelled, tuple(failed), tuple(doubtful), learned)


def _sort_out(archive: Archive, cases: Sequence[Case]) -> tuple[list[Case], list[Case], list[Failed]]:
    """Cases that must be encoded, that are there with the same file, and that none can hold."""
    known = archive.known()
    new: list[Case] = []
    unchanged: list[Case] = []
    failed: list[Failed] = []
    for case in cases:
        stamp = known.get(case.path)
        if (fault := fault_of(case)) is not None:
            failed.append(Failed(case, fault))
        else:
            (unchanged if stamp is not None and stamp == _stamp(case) else new).append(case)
    return new, unchanged, failed


def _stamp(case: Case) -> tuple[int, int] | None:
    try:
        return stamp_of(Path(case.path))
    except OSError:
        return None


def entry_of(result: Encoded) -> Entry:
    """Return what the archive stores of an encoded photograph."""
    return Entry(
        case=result.case, descriptor=result.descriptor, digest=result.digest, size=result.size, mtime_ns=result.mtime_ns
    )


def add_missing(folder: AnyPath, cases: Sequence[Case], encoder: str | Path | FunctionEncoder | None = None) -> Indexed:
    """Open or make the archive in folder and index cases into it; see `index_cases`."""
    folder = Path(folder)
    archive, own = open_archive(folder, encoder)
    with archive:
        ready = encoder if isinstance(encoder, FunctionEncoder) else Encoder.load(own)
        return index_cases(archive, ready, cases)
