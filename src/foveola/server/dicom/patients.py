"""Rows of patients in the file of pseudonyms: who is meant by what an object says of them.

patients    one row a person, by issuer and patient ID
others      further persons that came under the same two
seen        marks of the names and birth dates that came with each

What comes under one Patient ID is not always of one person. Names and birth dates are compared by
marks, hashes that stand for them: the names themselves are kept nowhere, and do not leave the child
process that reads them. A name and a date that both contradict what came before are those of
another person; one of the two is a marriage, a correction or a slip, and told.
"""

import datetime
import re
import secrets
import sqlite3
import unicodedata
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from foveola.errors import ImageError
from foveola.records import identifier, is_missing, known_identifier

EARLIEST, LATEST = 366, 3652  # days that dates are moved into the past, drawn for each patient
OTHER_PATIENT = (
    "its SOP Instance UID (0008,0018) is that of another patient's image that came before; neither "
    "is changed. One of the two is filed wrong in the PACS"
)
_STUDY, _OTHER = "\0study", "\0other"  # in place of an issuer: a patient without an ID; of `others`
_ALPHABET = "23456789BCDFGHJKLMNPQRSTVWXZ"  # without vowels, so that no word comes out
_LETTERS = 12  # 28 ** 12 is 2e17
APART = "the Patient ID came with another name and another birth date before; they are kept apart as two persons"
ALIKE = "the Patient ID came with another {} before; they are kept as one person"
UNCLEAR = (
    "the Patient ID is of several persons, and name and birth date do not say of which; it is kept "
    "as nobody's that is known"
)
_NOBODY = {"anon", "anonymous", "anonymised", "anonymized", "unknown", "no", "name", "noname"}
_NO_DATE = datetime.date(1900, 1, 1)  # what some programs write where they have none


class Marks(NamedTuple):
    """What stands for a person's name and date of birth; "" where they are not told."""

    name: str = ""
    birth: str = ""


class Choice(NamedTuple):
    """Whose an object is.

    Attributes:
        person: one of the known; None for nobody of them.
        new: whether it is another person of this Patient ID.
        sentence: what has to be told of it, without patients' data; "" for nothing.
    """

    person: int | None
    new: bool
    sentence: str


def marks_of(name: str, birth: datetime.date | None) -> Marks:
    """Compute marks of a DICOM person name and a date; what says nothing has the mark of none.

    Names are compared without the case of letters and what separates their parts.

    >>> marks_of("SMITH^ANNA", None) == marks_of("Smith Anna", None)
    True
    >>> marks_of("ANONYMOUS", None)
    Marks(name='', birth='')
    """
    group = next((part for part in name.split("=") if part.strip("^ ")), "").strip("^ ")
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", group).casefold())
    known = not is_missing(group) and not set(words) <= _NOBODY
    dated = birth is not None and birth != _NO_DATE
    return Marks(_mark(" ".join(words)) if known else "", _mark(str(birth)) if dated else "")


def choose(persons: Mapping[int, Collection[Marks]], told: Marks) -> Choice:
    """Choose among the persons of a Patient ID.

    Args:
        persons: the known, each with the marks that came with it.
        told: marks of the object.
    """
    against = {
        person: min((_contradictions(each, told) for each in seen), key=len, default=())
        for person, seen in persons.items()
    }
    least = min(map(len, against.values()), default=0)
    best = [person for person, contradicted in against.items() if len(contradicted) == least]
    if not best:
        return Choice(None, new=True, sentence="")
    if least == len(told):
        return Choice(None, new=True, sentence=APART)
    if len(best) > 1:
        return Choice(None, new=False, sentence=UNCLEAR)
    (contradicted,) = against[best[0]] or ("",)
    return Choice(best[0], new=False, sentence=contradicted and ALIKE.format(contradicted))


def _contradictions(seen: Marks, told: Marks) -> tuple[str, ...]:
    """In what two marks contradict each other."""
    pairs = zip(("name", "birth date"), seen, told, strict=True)
    return tuple(what for what, one, other in pairs if one and other and one != other)


def _mark(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def is_pseudonym(text: str) -> bool:
    """Return whether a text has the form of our pseudonyms.

    >>> is_pseudonym("P23456789BCDF"), is_pseudonym("../Smith")
    (True, False)
    """
    return len(text) == _LETTERS + 1 and text[0] == "P" and set(text[1:]) <= set(_ALPHABET)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who and what an incoming object is.

    Attributes:
        patient_id, issuer: (0010,0020) and (0010,0021), "" where they are empty.
        study, series, instance, sop_class: its UIDs.
        frames: at least 1; each becomes an instance of its own.
        name, birth: marks of the patient's name and birth date, see `Marks`.

    Patient ID and issuer are brought to their normal form; an ID that stands for none is none.
    """

    patient_id: str
    issuer: str
    study: str
    series: str
    instance: str
    sop_class: str
    frames: int = 1
    name: str = ""
    birth: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "patient_id", known_identifier(self.patient_id) or "")
        object.__setattr__(self, "issuer", identifier(self.issuer))

    @property
    def marks(self) -> Marks:
        """Return what stands for the person."""
        return Marks(self.name, self.birth)


def patient_of(db: sqlite3.Connection, identity: Identity) -> tuple[int, str]:
    """Find or make the row of an object's patient.

    One without an ID is somebody of their own in every study. Of several persons that came under
    one ID it is whose name and birth date these are.

    Returns:
        The row, and what has to be told of that choice, "" for nothing.

    Raises:
        ImageError: the instance came before, with another patient.
    """
    first = db.execute(
        "SELECT p.id, p.issuer, p.patient FROM instances AS i JOIN patients AS p "
        "ON p.id = i.patient WHERE i.original = ? LIMIT 1",
        (identity.instance,),
    ).fetchone()
    if not identity.patient_id and first and (first[1] == _STUDY or is_missing(first[2])):
        return int(first[0]), ""
    before = first[0] if first else None
    patient, doubt = _by_id(db, identity, before)
    if before not in (None, patient):
        raise ImageError(OTHER_PATIENT)
    return patient, doubt


def _by_id(db: sqlite3.Connection, identity: Identity, before: int | None) -> tuple[int, str]:
    if not identity.patient_id:
        return _row(db, (_STUDY, identity.study)), ""
    key = identity.issuer, identity.patient_id
    persons = _persons(db, key)
    if before in persons:  # an instance stays with its person, unless name and date contradict
        persons = {before: persons[before]}
    choice = choose(persons, identity.marks)
    person = choice.person
    if person is None and not choice.new:
        return _row(db, (_STUDY, identity.study)), choice.sentence
    if person is None:
        person = _new_person(db, key)
    if any(identity.marks):
        db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (person, *identity.marks))
    return person, choice.sentence


def _persons(db: sqlite3.Connection, key: tuple[str, str]) -> dict[int, list[Marks]]:
    """Rows of all who came under an issuer and a patient ID, with the marks of each."""
    found = db.execute(
        "SELECT id FROM patients WHERE issuer = ? AND patient = ? "
        "UNION SELECT person FROM others WHERE issuer = ? AND patient = ?",
        (*key, *key),
    ).fetchall() or _spelt_otherwise(db, key)
    seen = "SELECT name, birth FROM seen WHERE patient = ?"
    return {person: [Marks(*each) for each in db.execute(seen, (person,))] for (person,) in found}


def _spelt_otherwise(db: sqlite3.Connection, key: tuple[str, str]) -> list[tuple[int]]:
    """Rows that an earlier version wrote before identifiers had a normal form."""
    odd = "SELECT id, issuer, patient FROM patients WHERE issuer || patient GLOB '*[^ -~]*'"
    return [(id_,) for id_, *spelt in db.execute(odd) if tuple(map(identifier, spelt)) == key]


def _new_person(db: sqlite3.Connection, key: tuple[str, str]) -> int:
    """A row for somebody new, beside those who came under the same issuer and patient ID."""
    taken = "SELECT 1 FROM patients WHERE issuer = ? AND patient = ?"
    if db.execute(taken, key).fetchone() is None:
        return _row(db, key)
    person = _row(db, (_OTHER, new_uid()))
    db.execute("INSERT INTO others VALUES (?, ?, ?)", (person, *key))
    return person


def _row(db: sqlite3.Connection, key: tuple[str, str]) -> int:
    """Row of a key, made where it is not there."""
    pseudonym = "P" + "".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS))
    shift = -(EARLIEST + secrets.randbelow(LATEST - EARLIEST + 1))
    db.execute(
        "INSERT OR IGNORE INTO patients (issuer, patient, pseudonym, shift_days) VALUES (?, ?, ?, ?)",
        (*key, pseudonym, shift),
    )
    found = db.execute("SELECT id FROM patients WHERE issuer = ? AND patient = ?", key).fetchone()
    return int(found[0])


def new_uid() -> str:
    """Draw a UID without a registered root, PS3.5 B.2."""
    return f"2.25.{uuid.uuid4().int}"
