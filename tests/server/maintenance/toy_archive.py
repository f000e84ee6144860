"""An archive with all that a removal has to reach, made in a moment: no photograph is encoded.

The photographs are bytes, the descriptors drawn. P1 has five cases, two of them of files that the
archive owns; P2 and P3 have two each. Matching and places are there, a log of uses, and decisions.
"""

import sqlite3
from hashlib import blake2b
from pathlib import Path

import numpy as np

from foveola.archive import Archive, Entry
from foveola.matching import gallery, permission, saved_audit
from foveola.matching.saved_audit import key_of
from foveola.records import Case
from foveola.regions.box import Field
from foveola.regions.store import FREE, Basis, D, Described, Store
from foveola.trust import Seen

SUBJECTS = ("P1", "P1", "P2", "P1", "P3", "P1", "P2", "P1", "P3")
GONE = (1, 2, 4, 6, 8)  # of P1


def made_up(folder: Path, number: int, dimension: int = 8) -> Entry:
    """The case of a number, with a file of its own; every third lies among the archive's own."""
    data = f"photograph {number}".encode()
    digest = blake2b(data, digest_size=16).digest()
    name = digest.hex()
    own = folder.absolute() / "photographs" / name[:2] / f"{name}.jpeg"
    path = own if number % 3 == 0 else folder.absolute().with_name("outside") / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    v = np.random.default_rng(number).normal(size=dimension)
    subject = SUBJECTS[(number - 1) % len(SUBJECTS)]
    case = Case(image=f"{number}.jpg", path=str(path), subject=f"subject-{subject}", collection="c", grade=number % 5)
    return Entry(
        case=case, descriptor=(v / np.linalg.norm(v)).astype(np.float32), digest=digest, size=len(data), mtime_ns=11
    )


def make(folder: Path) -> Path:
    """The whole of it."""
    made = [
        Archive.create(place, encoder="toy", fingerprint="f00d", dimension=8)
        for place in (folder, folder / gallery.FOLDER)
    ]
    entries = [made_up(folder, number) for number in range(1, len(SUBJECTS) + 1)]
    for archive, place in zip(made, (folder, folder / gallery.FOLDER), strict=True):
        with archive:
            archive.add(entries)
        (place / "encoder").mkdir()
        Seen.of([entry.digest for entry in entries]).save(place / "encoder")
    held = Store.create(folder, "f00d", Basis(np.zeros(D, np.float32), np.eye(D, dtype="f4"), 2))
    with held.writing() as writer:
        writer.add(
            [
                Described(
                    number, (entry.size, 11), Field(0.1, 0.2, 0.5, 0.7, True), np.full((2, 2, D), number, np.int8)
                )
                for number, entry in enumerate(entries, 1)
            ]
        )
    permission.switch_on(folder, "a test")
    for entry in entries:
        permission.log_use(folder, "match", query=entry.digest.hex()[:16], candidates=20)
        saved_audit.decide(folder, key_of("label", "grade 2", [entry.case]), "right", "a note")
    return folder


def state(folder: Path) -> dict[str, object]:
    """All that matters of it, so that two can be compared."""
    found: dict[str, object] = {}
    for place in (folder, folder / "matching"):
        db = sqlite3.connect(place / "archive.sqlite")
        for table in ("cases", "descriptors", "case_findings", "columns", "removals"):
            rows = db.execute(f"SELECT * FROM {table}").fetchall()
            found[f"{place.name} {table}"] = str(sorted(rows, key=repr)).replace(str(folder), "A")
        db.close()
        found[f"{place.name} marks"] = Seen.load(place / "encoder").marks.tolist()
    slots = Store(folder, "f00d").slots["id"].tolist()
    found["places"] = sorted(id_ for id_ in slots if id_ != FREE)
    found["decisions"] = sorted(saved_audit.decisions(folder))
    found["uses"] = [use.get("query") for use in permission.read_log(folder)]
    for name in ("photographs", "outside"):
        place = folder / name if name == "photographs" else folder.with_name(name)
        found[name] = sorted(path.name for path in place.rglob("*") if path.is_file())
    return found


def found_of(folder: Path, ids: tuple[int, ...] = GONE) -> list[str]:
    """Where some of the cases are found still: by a search, or by who matches."""
    told = []
    with Archive.open(folder, read_only=True) as archive:
        hits = archive.search(archive.vectors()[1][0], 99).ids.tolist()
        told += ["search"] * bool(set(hits) & set(ids))
    with Archive.open(folder / gallery.FOLDER, read_only=True) as inner:
        left = inner.paths().keys() - set(gallery.missing(folder, inner))
        told += ["matching"] * bool(left & set(ids))
    return told
