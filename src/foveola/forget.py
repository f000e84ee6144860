"""Take a person out of an archive for good, and say in a receipt what went.

`foveola remove` takes cases out of the search; this also takes what else is left of a person:
the matching archive's descriptors, what the archive learnt, decisions of the audit, digests in the
log of matching, files that the archive keeps itself, and on request the photographs.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from foveola import regions
from foveola.archive import Archive
from foveola.archive.database import ENCODER
from foveola.audit_log import Log, head
from foveola.audit_log.chain import now, operator
from foveola.cases import Case, identifier
from foveola.errors import ArchiveError
from foveola.learned import refresh
from foveola.matching import gallery
from foveola.matching.redact import forget_decisions, forget_uses
from foveola.pacs import PSEUDONYMS, STORE, place_of
from foveola.pacs.forget import forget_patient
from foveola.pacs.pseudonyms import Pseudonyms, is_pseudonym
from foveola.trust import Seen

# What other parts keep of people beside an archive: a function of the archive's folder, the
# subject's pseudonym and the cases that go, which removes it and says how much it was. The names
# are those of Receipt.elsewhere.
ELSEWHERE: dict[str, Callable[[Path, str, Sequence[Case]], int]] = {}


def _from_pacs(folder: Path, subject: str, _: Sequence[Case]) -> int:
    """Remove who they were in the PACS, and the de-identified files; how many both were."""
    place = place_of(folder)
    if not (place / PSEUDONYMS).exists() or not is_pseudonym(subject):
        return 0
    with Pseudonyms(place / PSEUDONYMS) as names:
        gone = forget_patient(place / STORE, names, subject)
    return gone.files + gone.instances


ELSEWHERE["from the PACS"] = _from_pacs


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was removed. Names nobody; whoever knows the pseudonym can check that it is meant.

    Attributes:
        number: of this receipt, drawn at random; the audit log holds it, too.
        time: ISO 8601 in UTC.
        salt: hexadecimal, drawn at random.
        subject: scrypt(pseudonym, salt, n=2**15, r=8, p=1), 32 bytes in hexadecimal; the pseudonym
            in its normal form (`foveola.cases.identifier`). Made to be slow: trying all pseudonyms
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


def forget(
    folder: Path, subject: str, collection: str | None = None, *, files: bool = False
) -> Receipt:
    """Take everything of a subject out of an archive. Interrupted, it can be run again.

    Args:
        folder: the archive.
        subject: pseudonym.
        collection: its name space; needed where several have this subject.
        files: also delete photographs that lie outside the archive.

    Raises:
        ArchiveError: the archive has nothing of this subject, several collections have it, another
            process is writing, or a trace could not be overwritten yet.
        AccessError: the audit log can't be written; nothing was removed then.
        OSError: a photograph can't be deleted; its case is still there then.
    """
    subject, space = identifier(subject), collection and identifier(collection)
    with Archive.open(folder) as archive:
        everyone = dict(archive.cases())
        gone = {id_: case for id_, case in everyone.items()
                if case.subject == subject and space in (None, case.collection)}  # fmt: skip
        if len({case.collection for case in gone.values()}) > 1:
            raise ArchiveError("several collections have this subject; give one")
        log, number = Log(folder), secrets.token_hex(8)
        if gone:
            log.append(operator(), "forget", tuple(gone), number)
        digests = archive.digests()
        own = {digests[id_] for id_ in gone}
        cases = list(gone.values())
        copies = sum(digests[id_] in own for id_ in everyone.keys() - gone.keys())
        decisions = forget_decisions(folder, cases, list(everyone.values()))
        uses = forget_uses(folder, own)
        elsewhere = {name: remove(folder, subject, cases) for name, remove in ELSEWHERE.items()}
        elsewhere["marks of training"] = sum(
            _unmark(part / ENCODER, own) for part in (folder, folder / gallery.FOLDER)
        )
        elsewhere = {name: count for name, count in elsewhere.items() if count}
        photographs, left = _delete(folder, cases, files)
        if gone:
            archive.remove(subject=subject, collection=cases[0].collection)
        else:
            archive.compact()  # of a run that was interrupted, traces may have stayed
        refresh(archive)
        encoder = archive.fingerprint
    matching = gallery.forget_missing(folder)
    if places := regions.forget_missing(folder):
        elsewhere["places"] = places
    if not gone and not matching and not sum(elsewhere.values()):
        raise ArchiveError("the archive has no case of this subject")
    salt = secrets.token_bytes(16)
    receipt = Receipt(
        number=number, time=now(), salt=salt.hex(), subject=commitment(subject, salt),
        encoder=encoder, cases=tuple(gone), matching=matching, photographs=photographs, left=left,
        copies=copies, decisions=decisions, uses=uses, elsewhere=elsewhere,
    )  # fmt: skip
    log.append(operator(), "forgotten", tuple(gone), f"{number} {digest_of(receipt)}")
    return Receipt(**(asdict(receipt) | {"head": head(folder)}))


def commitment(subject: str, salt: bytes) -> str:
    """What stands for a pseudonym in a receipt."""
    return hashlib.scrypt(
        identifier(subject).encode(), salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32
    ).hex()  # fmt: skip


def digest_of(receipt: Receipt) -> str:
    """SHA-256 of a receipt without its head, as the audit log has it."""
    values = asdict(receipt) | {"head": ""}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _unmark(encoder: Path, digests: Collection[bytes]) -> int:
    """Take photographs from those that an encoder here says it was trained on."""
    seen = Seen.load(encoder)
    if seen is None or not (count := int(seen.among(digests).sum())):
        return 0
    seen.without(digests).save(encoder)
    return count


def _delete(folder: Path, cases: Sequence[Case], files: bool) -> tuple[int, int]:
    """Delete the archive's own files, and on request others; how many went, and were left."""
    inside = folder.resolve()
    deleted = left = 0
    for case in cases:
        path = Path(case.path)
        if not path.exists():
            continue
        if files or path.resolve().is_relative_to(inside):
            path.unlink()
            deleted += 1
        else:
            left += 1
    return deleted, left
