"""Take a person out of an archive for good, and say in a receipt what went.

`foveola remove` takes cases out of the search; this also takes what else is left of a person:
the matching archive's descriptors, what the archive learnt, decisions of the audit, digests in the
log of matching, files that the archive keeps itself, and on request the photographs.
"""

import hashlib
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from foveola.archive import Archive
from foveola.archive.removals import Removal
from foveola.errors import ArchiveError
from foveola.records import identifier
from foveola.server.audit import Log, head, now, operator
from foveola.server.maintenance import finish_removals

ELSEWHERE = ("places", "from the PACS", "marks of training")  # what Receipt.elsewhere may name


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
        elsewhere = {name: counts[name] for name in ELSEWHERE if counts[name]}
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
