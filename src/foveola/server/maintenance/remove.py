"""Take cases out of an archive, with all that was made of them: wholly, whatever comes in between.

First what is to go is written into the archive, in the transaction that takes the cases from it:
from then on nothing finds them. Then each part is wiped, and the archive rewritten. What a kill, or
a part that can't be written, leaves undone is finished by whoever comes next.

A part is a generator: it yields what there is, by the names of a receipt, and wipes it when asked
to go on. Each can be run again at any time, and wipes what an interrupted run left.

`remove_cases` takes cases out of the search; `forget` also takes what else is left of a person: the
matching archive's descriptors, what the archive learnt, decisions of the audit, digests in the log
of matching, files that the archive keeps itself, and on request the photographs. `settle` brings
what was learnt up to date with the cases that are left.
"""

import contextlib
import hashlib
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from foveola import regions
from foveola.archive import Archive
from foveola.archive.database import ENCODER
from foveola.archive.removals import Removal, are_pending
from foveola.errors import ArchiveError, FoveolaError, MatchingError, NoCaseError
from foveola.learned import is_current, load_learned, refresh
from foveola.matching import gallery, permission
from foveola.matching.permission import forget_uses
from foveola.matching.saved_audit import forget_decisions
from foveola.records import identifier, known_identifier
from foveola.resources import locked
from foveola.server.audit import Log, head, now, operator
from foveola.server.dicom import PSEUDONYMS, STORE, place_of
from foveola.server.dicom.patients import is_pseudonym
from foveola.server.dicom.pseudonyms import Pseudonyms, forget_patient, held_of
from foveola.server.maintenance.add import owns
from foveola.trust import Seen

Part = Callable[[Archive, Removal], Iterator[dict[str, int]]]
NOTED = ("places", "from the PACS", "marks of training")  # what Receipt.elsewhere may name


def remove_cases(
    folder: Path,
    *,
    ids: Collection[int] | None = None,
    image: str | None = None,
    subject: str | None = None,
    collection: str | None = None,
    learn: bool = False,
) -> int:
    """Remove cases, what matching and regions keep, and photographs that the archive owns.

    Photographs that lie elsewhere are not touched. Interrupted, the cases are not found any more;
    the rest goes when this is called again, or anything else opens the archive
    (`finish_removals`).

    Args:
        folder: the archive.
        ids: of cases. Give these, or image, or subject.
        image: name or path of an image.
        subject: pseudonym of a subject, all of whose images go.
        collection: in which to look for the image or the subject.
        learn: learn anew what similarities are worth; else that is left to `settle`.

    Returns:
        How many cases were removed, or were on their way out since an earlier call.

    Raises:
        NoCaseError: there is none.
        ArchiveError: the name is ambiguous; nothing is removed then. Or the cases are removed, but
            traces can't be wiped now.
    """
    with Archive.open(folder) as archive:
        begun = [
            removal
            for removal in archive.removals()
            if not removal.over and _means(removal, ids, image, subject, collection)
        ]
        try:
            taken = archive.take(Removal(learns=learn), ids=ids, image=image, subject=subject, collection=collection)
        except NoCaseError:
            if not begun:
                with contextlib.suppress(FoveolaError, OSError):  # another's, which a later call finishes
                    finish_removals(folder)
                raise
            taken = Removal()
    finish_removals(folder)
    return len(taken.ids) or sum(len(removal.ids) for removal in begun)


def finish_removals(folder: Path, *, wait: bool = True) -> int:
    """Wipe what is left of cases that were taken from an archive; mostly there is nothing to do.

    Args:
        folder: the archive.
        wait: for another process that is at it; else that one does it.

    Returns:
        How many cases were on their way out.

    Raises:
        ArchiveError: some trace can't be wiped now; nothing finds the cases all the same.
    """
    if not are_pending(folder):
        return 0
    with locked(folder, wait=wait) as held:
        if not held:
            return 0
        with Archive.open(folder) as archive:
            left = [removal for removal in archive.removals() if not removal.over]
            for removal in left:
                _finish(archive, removal)
    return sum(len(removal.ids) for removal in left)


def settle(folder: Path, progress: Callable[[int], None] | None = None) -> None:
    """Bring everything up to date with an archive's cases: what it learnt, and the matching gallery.

    Takes a second or two for ten thousand cases, so a service does it once after many changes.
    Removals are finished first.

    Args:
        folder: the archive.
        progress: called with the number of photographs just described for matching.

    Raises:
        ArchiveError: it can't be opened or written.
    """
    finish_removals(folder)
    with Archive.open(folder) as archive:
        refresh(archive)
    try:
        allowed = permission.permission(folder)
    except MatchingError:
        return  # switched off
    gallery.update(folder, allowed, progress)


def is_settled(archive: Archive) -> bool:
    """Return whether what it learnt was learnt from the cases that it has, and no removal is unfinished."""
    if are_pending(archive.folder):
        return False
    kept = load_learned(archive)
    return kept is None or is_current(kept, archive)


def _finish(archive: Archive, removal: Removal) -> None:
    """Wipe as many parts as can be, then the records that are needed to find them."""
    parts = USED if removal.person is None else (*ELSEWHERE, *USED)
    if removal.counts is None:  # before anything goes, so that a kill makes no receipt wrong
        counts: dict[str, int] = {}
        with _told(removal):
            for part in parts:
                counts |= next(part(archive, removal), {})
        removal = replace(removal, counts=counts)
        archive.note(removal)
    if removal.rows or removal.subject is not None:
        faults: list[Exception] = []
        for part in parts:
            try:
                for _ in part(archive, removal):
                    pass
            except (FoveolaError, OSError) as error:
                faults.append(error)
        if faults:
            raise _unfinished(removal, faults[0]) from faults[0]
        removal = replace(removal, rows=(), subject=None)
        archive.note(removal)
    with _told(removal):
        archive.compact()
    if removal.person is None:
        archive.drop(removal)
    else:  # until somebody has had the receipt
        archive.note(replace(removal, over=True))


@contextlib.contextmanager
def _told(removal: Removal) -> Iterator[None]:
    try:
        yield
    except (FoveolaError, OSError) as error:
        raise _unfinished(removal, error) from error


def _unfinished(removal: Removal, error: Exception) -> ArchiveError:
    said = str(error)
    if isinstance(error, OSError):  # without the name of a file, which may be a person's
        said = f"a file can't be written or deleted ({error.strerror})"
    return ArchiveError(
        f"removed, but traces stay for now: {said}. The {len(removal.ids)} cases are not found any "
        "more; run the same command again to finish"
    )


def _means(
    removal: Removal, ids: Collection[int] | None, image: str | None, subject: str | None, collection: str | None
) -> bool:
    """Whether a removal was begun by the same request, as far as its records still say."""
    if ids is not None:
        return set(ids) <= set(removal.ids)
    person = known_identifier(subject)
    return not removal.rows or any(
        image in (case.image, case.path) or case.subject == person is not None
        for case in removal.cases
        if collection is None or identifier(collection) == case.collection
    )


def _matching(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    paths = {case.path for case in removal.cases}
    yield {"matching": gallery.count_missing(archive.folder, paths)}
    gallery.forget_missing(archive.folder)


def _places(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {"places": regions.count_missing(archive.folder, removal.ids)}
    regions.forget_missing(archive.folder)


def _files(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Delete what the archive owns; of a person everything inside it, and on request the rest."""
    folder, back = archive.folder, set(archive.paths().values())
    there = [
        path
        for case in removal.cases
        if (path := Path(case.path)).exists()
        and case.path not in back  # it was not added again meanwhile
        and place_of(folder) / STORE not in path.parents
    ]
    if removal.person is None:
        gone = [path for path in there if owns(folder, path)]
    else:
        inside = folder.resolve()
        gone = [p for p in there if removal.files or p.resolve().is_relative_to(inside)]
    yield {"photographs": len(gone), "left": len(there) - len(gone)}
    for path in gone:
        path.unlink(missing_ok=True)


def _learned(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {}
    if removal.learns:
        refresh(archive)


def _copies(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    own = removal.digests
    yield {"copies": sum(digest in own for digest in archive.digests().values())}


def _decisions(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    cases = removal.cases
    everyone = [*cases, *(case for _, case in archive.cases())]
    yield {"decisions": forget_decisions(archive.folder, cases, everyone, count_only=True)}
    forget_decisions(archive.folder, cases, everyone)


def _uses(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {"uses": forget_uses(archive.folder, removal.digests, count_only=True)}
    forget_uses(archive.folder, removal.digests)


def _from_pacs(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Who they were in the PACS, and the de-identified files."""
    place, subject = place_of(archive.folder), removal.subject
    if not (place / PSEUDONYMS).exists() or subject is None or not is_pseudonym(subject):
        return
    with Pseudonyms(place / PSEUDONYMS) as names:
        held = held_of(place / STORE, names, subject)
        yield {"from the PACS": held.files + held.instances}
        forget_patient(place / STORE, names, subject)


def _marks(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Take photographs from those that an encoder here says it was trained on."""
    encoders = [archive.folder / ENCODER, archive.folder / gallery.FOLDER / ENCODER]
    marked = [(encoder, Seen.load(encoder)) for encoder in encoders]
    own = removal.digests
    counts = [0 if seen is None else int(seen.among(own).sum()) for _, seen in marked]
    yield {"marks of training": sum(counts)}
    for (encoder, seen), count in zip(marked, counts, strict=True):
        if seen is not None and count:
            seen.without(own).save(encoder)


# Of every removal, and what else goes of a person who is forgotten.
USED: tuple[Part, ...] = (_matching, _places, _files, _learned)
ELSEWHERE: tuple[Part, ...] = (_copies, _decisions, _uses, _from_pacs, _marks)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was removed. Names nobody; whoever knows the pseudonym can check that it is meant.

    Attributes:
        number: of this receipt, drawn at random; the audit log holds it, too.
        time: ISO 8601 in UTC.
        salt: hexadecimal, drawn at random.
        subject: scrypt(pseudonym, salt, n=2**15, r=8, p=1), 32 bytes in hexadecimal; the pseudonym
            in its normal form (`foveola.records.identifier`). Made to be slow: trying all pseudonyms
            of a short scheme takes about 0.1 s each.
        encoder: fingerprint of the archive's.
        cases: ids that went; never given again.
        matching: descriptors that the matching archive held.
        photographs: files deleted.
        left: files outside the archive that were left where they are.
        copies: cases of others that hold the very same file as one of these, and stay.
        decisions: of the identity audit, on findings that involved these photographs.
        uses: lines in the log of matching that held a digest of one of these.
        elsewhere: what other parts removed, by their name.
        head: of the audit log, after its line about this.
    """

    number: str
    time: str
    salt: str
    subject: str
    encoder: str
    cases: tuple[int, ...]
    matching: int
    photographs: int
    left: int
    copies: int
    decisions: int
    uses: int
    elsewhere: dict[str, int]
    head: str = ""

    @classmethod
    def of(cls, removals: Sequence[Removal], encoder: str) -> Self:
        """Make the receipt of removals that are over, of one person; the largest names it."""
        first = max(removals, key=lambda removal: len(removal.ids))
        counts = sum((Counter(each.counts) for each in removals), Counter[str]())
        elsewhere = {name: counts[name] for name in NOTED if counts[name]}
        salt, subject = first.person or ("", "")
        return cls(
            number=first.number,
            time=now(),
            salt=salt,
            subject=subject,
            encoder=encoder,
            cases=tuple(sorted(id_ for each in removals for id_ in each.ids)),
            matching=counts["matching"],
            photographs=counts["photographs"],
            left=counts["left"],
            copies=counts["copies"],
            decisions=counts["decisions"],
            uses=counts["uses"],
            elsewhere=elsewhere,
        )


def forget(folder: Path, subject: str, collection: str | None = None, *, files: bool = False) -> Receipt:
    """Take everything of a subject out of an archive.

    Interrupted, the subject is not found any more; the rest goes when this is called again, or
    anything else opens the archive. The receipt of what went is given to who calls again.

    Args:
        folder: the archive.
        subject: pseudonym.
        collection: its name space; needed where several have this subject.
        files: also delete photographs that lie outside the archive.

    Raises:
        ArchiveError: the archive has nothing of this subject, several collections have it, or
            a trace can't be wiped now.
        AccessError: the audit log can't be written; nothing was removed then.
    """
    subject, space = identifier(subject), collection and identifier(collection)
    log = Log(folder)
    with Archive.open(folder) as archive:
        gone = {
            id_: case for id_, case in archive.cases() if case.subject == subject and space in (None, case.collection)
        }
        if len({case.collection for case in gone.values()}) > 1:
            raise ArchiveError("several collections have this subject; give one")
        if gone or not any(is_of(each, subject) for each in archive.removals()):
            salt = secrets.token_bytes(16)
            removal = Removal(subject=subject, person=(salt.hex(), commitment(subject, salt)), files=files)
            if gone:
                log.append(operator(), "forget", tuple(gone), removal.number)
            archive.take(removal, ids=tuple(gone))
    finish_removals(folder)
    with Archive.open(folder) as archive:
        own = [each for each in archive.removals() if each.over and is_of(each, subject)]
        went = Receipt.of(own, archive.fingerprint)
        known = went.cases or went.matching or went.elsewhere
        if known:
            log.append(operator(), "forgotten", went.cases, f"{went.number} {digest_of(went)}")
        for each in own:
            archive.drop(each)
    if not known:
        raise ArchiveError("the archive has no case of this subject")
    return replace(went, head=head(folder))


def commitment(subject: str, salt: bytes) -> str:
    """Compute what stands for a pseudonym in a receipt.

    >>> commitment("P7", b"salt") == commitment("P8", b"salt")
    False
    """
    return hashlib.scrypt(identifier(subject).encode(), salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32).hex()


def digest_of(receipt: Receipt) -> str:
    """Compute SHA-256 of a receipt without its head, as the audit log has it."""
    values = asdict(receipt) | {"head": ""}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def is_of(removal: Removal, subject: str) -> bool:
    """Return whether a removal is one of a subject, by its salt and hash."""
    if removal.person is None:
        return False
    salt, hashed = removal.person
    return hmac.compare_digest(commitment(subject, bytes.fromhex(salt)), hashed)
