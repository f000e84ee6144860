"""Damage every file of a small archive and ask it: an error, a warning, or the same answer.

    python tests/campaigns/damage.py --rounds 1000

Makes an archive of phantoms with all that one may have (learnt labels, places, matching with its
logs and findings, accounts, an audit log), flips a bit of a file or cuts it off, asks, and puts the
file back; every file in turn. Ends with 1 where a changed answer came without a word, or a
traceback. A log of SQLite that was not finished is no part of it: what follows a damaged page of it
is as if it had never been written, as SQLite's own documentation says.
"""

import argparse
import contextlib
import copy
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from foveola import trust
from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import read_release
from foveola.errors import FoveolaError
from foveola.indexing import add_missing
from foveola.laterality import LATERALITY, Laterality
from foveola.learned import advice, load_learned
from foveola.matching import gallery, permission, saved_audit
from foveola.matching.pair import CALIBRATION, Calibration
from foveola.phantom import generate
from foveola.regions import Box, RegionSearch, search, switch_on
from foveola.regions.search import Local
from foveola.relevance.learn import load_priors
from foveola.retrieval import Query, Retriever
from foveola.server.audit import Log, read, verify
from foveola.server.auth import Accounts

TELLING = (permission.UNREADABLE, permission.MISSING, "is damaged", "can't be read")
REGION = Box(0.4, 0.4, 0.1, 0.1)


@dataclass(frozen=True)
class Asker:
    """What is slow and the same in every round: networks and what they see in the query."""

    encoder: Encoder
    matching: Encoder
    local: Local
    data: bytes
    pixels: Any
    places: Any
    vector: Any


def build(folder: Path, people: int = 20) -> Asker:
    """Make the archive in a new folder, and all that asks it."""
    manifest = generate(folder / "phantoms", subjects=people, visits=1, seed=5, size=256, masks=False)
    cases = list(Manifest.read(manifest, collection="p").cases())
    archive = folder / "archive"
    add_missing(archive, cases)
    with Archive.open(archive) as opened:
        trust.refresh(opened)
        ids = opened.vectors()[0].tolist()
    switch_on(archive)
    allowed = permission.switch_on(archive, "a campaign of damage")
    gallery.update(archive, allowed)
    for query in ("ab12", "cd34"):
        permission.log_use(archive, "match", query=query)
    saved_audit.save_audit(archive, [], ids, {"photographs": len(cases)})
    saved_audit.decide(archive, "0123456789ab", "right", by="anna")
    with Accounts.create(archive) as accounts:
        accounts.add("anna", "admin", "correct horse battery")
        accounts.make_token("anna", "a program", 30)
    for id_ in ids[:3]:
        Log(archive).append("anna", "case", [id_])
    return _asker(archive, Path(cases[4].path))


def _asker(archive: Path, photograph: Path) -> Asker:
    from foveola.images.decode import decode

    data = photograph.read_bytes()
    encoder = Encoder.load(archive / "encoder")
    matching = Encoder.load(archive / gallery.FOLDER / "encoder")
    pixels = decode(data, min_side=encoder.contract.min_side)
    seen = encoder.embed_with_quality(pixels)
    encoder.embed_with_quality = lambda *_: seen  # type: ignore[method-assign]
    local = Local(encoder.release)
    search.Local = lambda *_: local  # type: ignore[misc, assignment]
    with Retriever.open(archive, encoder) as retriever, RegionSearch(retriever) as regions:
        places = regions.look(pixels, retriever.embed(data, "query", pixels=pixels))
    return Asker(encoder, matching, local, data, pixels, places, matching.encode_photograph(pixels))


def ask(archive: Path, by: Asker) -> dict[str, str]:
    """Everything that is asked of an archive, as text, by what was asked."""
    own = copy.copy(by.encoder)
    own.release = read_release(archive / "encoder")
    with Retriever.open(archive, own) as retriever:
        query = retriever.embed(by.data, "query", pixels=by.pixels)
        opened = retriever.archive
        found: dict[str, Callable[[], Any]] = {
            "encoder": lambda: replace(own.release, folder=Path()),
            "info": lambda: asdict(opened.info()) | {"bytes": 0},
            "cases": lambda: list(opened.cases()),
            "case": lambda: opened.case(3),
            "page": lambda: opened.page("grade >= 1", limit=5),
            "looks": lambda: _plain(retriever.search_query(query, 5, by="looks")),
            "learned": lambda: _plain(retriever.search_query(query, 5)),
            "where": lambda: _plain(retriever.search_query(query, 5, where="eye = 'left'")),
            "people": lambda: replace(
                retriever.search_person_query({query.case.eye or "left": query}, 3), milliseconds=0
            ),
            "learnt": lambda: _labels(opened),
            "advice": lambda: advice(opened),
            "prior": lambda: sorted(load_priors(archive / "encoder")),
            "region": lambda: _region(retriever, query, by),
            "match": lambda: _match(archive, by),
            "uses": lambda: permission.read_log(archive),
            "findings": lambda: saved_audit.load_audit(archive, []),
            "decisions": lambda: saved_audit.decisions(archive),
            "accounts": lambda: _accounts(archive),
            "audit log": lambda: _audit(archive),
        }
        return {name: repr(answer()) for name, answer in found.items()}


def _plain(result: Any) -> Any:
    return replace(result, milliseconds=0)


def _labels(opened: Archive) -> Any:
    learned = load_learned(opened)
    return None if learned is None else (learned.fitted_on, sorted(learned.labels))


def _region(retriever: Retriever, query: Query, by: Asker) -> Any:
    return _plain(RegionSearch(retriever).search(query, by.places, REGION, 3))


def _match(archive: Path, by: Asker) -> Any:
    inner = archive / gallery.FOLDER
    release = read_release(inner / "encoder")
    calibration = Calibration.load(inner / "encoder" / CALIBRATION, release.fingerprint)
    side = Laterality.load(inner / "encoder" / LATERALITY, release.fingerprint)
    with Archive.open(inner, read_only=True) as opened:
        found = opened.search(by.vector, 5)
        return (
            permission.permission(archive),
            replace(release, folder=Path()),
            calibration,
            side,
            found,
            trust.Seen.load(inner / "encoder").marks.tobytes(),
            trust.load(opened),
            advice(opened),
        )


def _audit(archive: Path) -> Any:
    verified = verify(archive)
    said = f"lines {verified.cut} can't be read" if verified.cut else ""  # as its command says
    return said, verified, list(read(archive))


def _accounts(archive: Path) -> Any:
    with Accounts(archive) as accounts:
        return accounts.everyone(), accounts.tokens()


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = Keep(logging.WARNING)
    logging.getLogger("foveola").addHandler(handler)
    try:
        yield said
    finally:
        logging.getLogger("foveola").removeHandler(handler)


def judge(archive: Path, by: Asker, sound: dict[str, str]) -> str:
    """One round: "error", "told", "same", "silent: ..." or "traceback: ..."."""
    with _heard() as said:
        try:
            found = ask(archive, by)
        except (FoveolaError, OSError):
            return "error"
        except Exception as error:
            return f"traceback: {type(error).__name__}: {error}"
    changed = [name for name, text in found.items() if text != sound[name]]
    if not changed:
        return "same"
    words = " ".join([*said, *(found[name] for name in changed), found["advice"]])
    return "told" if said or any(w in words for w in TELLING) else f"silent: {', '.join(changed)}"


def spoilt(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The data with a bit flipped or an end cut off, and which it was."""
    place = rng.randrange(len(data))
    if rng.random() < 0.3:
        return f"cut at {place}", data[:place]
    changed = bytearray(data)
    changed[place] ^= 1 << rng.randrange(8)
    return f"flip at {place}", bytes(changed)


def campaign(folder: Path, by: Asker, rounds: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Rounds of damage, spread evenly over the files; what became of each, by file."""
    archive, rng = folder / "archive", random.Random(seed)
    sound = ask(archive, by)
    assert ask(archive, by) == sound
    paths = sorted(p for p in archive.rglob("*") if p.is_file() and p.stat().st_size)
    paths = [p for p in paths if not p.name.endswith(("-wal", "-shm"))]
    found: dict[str, Counter[str]] = {}
    for number in range(rounds):
        path = paths[number % len(paths)]
        whole = path.read_bytes()
        how, data = spoilt(whole, rng)
        path.write_bytes(data)
        try:
            came = judge(archive, by, sound)
        finally:
            path.write_bytes(whole)
            for log in archive.rglob("*.sqlite-*"):
                log.unlink()
        name = path.relative_to(archive).as_posix()
        found.setdefault(name, Counter())[came.partition(":")[0]] += 1
        if number % 100 == 99:
            print(f"{number + 1} rounds", file=sys.stderr, flush=True)
        if came.startswith(("silent", "traceback")):
            print(f"{name}, {how}: {came}", flush=True)
    return found


def main() -> int:
    """Run, print a line for each file, and return 1 where damage was not told."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--people", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), build(Path(folder), given.people), given.rounds, given.seed)
    columns = ("error", "told", "same", "silent", "traceback")
    print(f"{'file':44}" + "".join(f"{column:>11}" for column in columns))
    for name, counts in sorted(found.items()):
        print(f"{name:44}" + "".join(f"{counts[column]:>11}" for column in columns))
    total = sum(found.values(), Counter())
    print(f"{'all':44}" + "".join(f"{total[column]:>11}" for column in columns))
    return int(bool(total["silent"] or total["traceback"]))


if __name__ == "__main__":
    sys.exit(main())
