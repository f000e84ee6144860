"""Kill what writes, again and again, and look at what is left.

    python tests/campaigns/kills.py --rounds 500

Each round copies a small archive, runs one command as `foveola` would in a process group of its
own, kills the group at a random moment of the time that the command takes, and checks that nothing
acknowledged is lost, that nothing removed is found, and that a repeat ends as an undisturbed run
does. Exit code 1 where a round fails; one line of JSON says what was done.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from click.testing import CliRunner

from foveola.archive import Archive
from foveola.cli.commands import main as cli
from foveola.matching import gallery, permission, saved_audit
from foveola.server.audit import FILE, Log, read, verify
from foveola.server.dicom.spool import Spool

TRAINING = """
name = "tiny"
epochs = 3
precision = "32-true"
[data]
manifests = ["known/manifest.csv"]
label = "subject"
[model]
backbone = "mobilenetv2_050"
dimension = 0
image_size = 64
[batch]
groups = 4
images_per_group = 2
batches_per_epoch = 2
[loss]
name = "ada_triplet"
proxy_weight = 0.0
"""
PASSWORD = "horse battery staple 1\n"


def run(*arguments: object, standing: str = "") -> int:
    return CliRunner().invoke(cli, [*map(str, arguments)], input=standing).exit_code


def dump(file: Path) -> str:
    """Every row of a database, without what is drawn or read from a clock."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        skip = ("sessions", "tokens", "sqlite_sequence")
        rows = {t: sorted(db.execute(f"SELECT * FROM {t}").fetchall(), key=repr) for t in tables if t not in skip}
    if "accounts" in rows:
        rows["accounts"] = [row[:3] for row in rows["accounts"]]  # a hash has a salt
        rows.pop("checks", None)  # of the rows with their salts
    return repr(rows)


def state(place: Path) -> dict[str, str]:
    """What a command leaves behind, so that two runs can be compared."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_dir() or name.endswith(("-wal", "-shm", "lock")):
            continue
        if path.suffix == ".sqlite":
            found[name] = dump(path).replace(str(place), "PLACE")
        elif path.suffix in (".jsonl", ".toml", ".end") or name.startswith("spool/"):
            found[name] = "times and random names"
        elif path.suffix == ".html":  # has times, too
            found[name] = "whole" if path.read_text().rstrip().endswith("</html>") else "half"
        else:
            found[name] = str(hash(path.read_bytes()))
    return found


Act = Callable[[Path, Callable[[object], None]], int]


def command(*arguments: str, standing: str = "") -> Act:
    """A command of the program, in the folder of the round; `said` when it ended well."""

    def act(place: Path, say: Callable[[object], None]) -> int:
        os.chdir(place)
        code = run(*arguments, standing=standing)
        if code == 0:
            say("done")
        return code

    return act


def program(*arguments: str) -> Act:
    """The same as a process of its own, for what can't go on in a fork: it starts threads."""

    def act(place: Path, say: Callable[[object], None]) -> int:
        os.chdir(place)
        os.execv(sys.executable, [sys.executable, "-m", "foveola", *arguments])

    return act


def appending(write: Callable[[Path, int], object]) -> Act:
    """Something written again and again, each acknowledged."""

    def act(place: Path, say: Callable[[object], None]) -> int:
        for number in range(40):
            write(place, number)
            say(number)
        return 0

    return act


def _post(place: Path, say: Callable[[object], None]) -> int:
    from fastapi.testclient import TestClient

    from foveola.server import Settings, create_app

    client = TestClient(create_app(place / "A", settings=Settings(rate=1e6, burst=1e6)))
    for number, photograph in enumerate(sorted((place.parent / "new").iterdir())[:4]):
        sent = {"photograph": (photograph.name, photograph.read_bytes())}
        answer = client.post("/api/v1/cases", files=sent, data={"subject": f"new-{number}"})
        if answer.status_code not in (200, 201):
            return 1
        say(answer.json()["case"]["id"])
        if number == 1:
            if client.delete("/api/v1/cases/3").status_code not in (204, 404):  # 404: a repeat
                return 1
            say("removed 3")
    return 0


def _store(place: Path, number: int) -> None:
    with contextlib.closing(Spool(place / "spool")) as spool:
        spool.put([number.to_bytes(2, "big"), bytes(20_000)])


ACTS: dict[str, Act] = {
    "index": command("index", "N", "../new"),
    "index more": command("index", "A", "../new"),
    "remove": command("remove", "A", "--subject", "P00001"),
    "forget": command("forget", "A", "P00001", "--yes"),
    "learn": command("learn", "A"),
    "regions": command("regions", "on", "A"),
    "backup": command("backup", "A", "B"),
    "study": command("study", "new", "A", "S", "--queries", "4"),
    "accounts": command("accounts", "add", "A", "anna", "--role", "viewer", standing=PASSWORD * 2),
    "matching on": command("matching", "on", "A", "--purpose", "a test"),
    "matching off": command("matching", "off", "A"),
    "format": command("learn", "OLD"),
    "regions off": command("regions", "off", "R"),
    "phantom": program("phantom", "P", "--subjects", "2", "--size", "256"),
    "adapt": program("adapt", "folders", "../classes", "--out", "adapted.csv"),
    "encoder export": program("encoder", "export", "E.onnx"),
    "encoder add": program("encoder", "add", "../model.onnx", "--size", "352", "--out", "M", "--name", "mine"),
    "page": program("search", "A", "../new/P00000_L_m000.jpg", "--html", "page.html"),
    "train": program("train", "../tiny.toml", "T"),
    "decisions": appending(lambda p, n: saved_audit.decide(p / "A", f"{n:012x}", "right", "a note")),
    "uses": appending(lambda p, n: permission.log_use(p / "A", "match", query=f"{n:016x}")),
    "audit log": appending(lambda p, n: Log(p / "A").append("anna", "case", [n])),
    "C-STORE": appending(_store),
    "REST": _post,
}
# commands: a repeat must leave what an undisturbed run does; a training's files have times
REPEATED = set(list(ACTS)[: list(ACTS).index("train")])


def lost(place: Path, name: str, said: list[str]) -> str:
    """What was acknowledged and is not there, or was removed and is found; "" if all is well."""
    numbers = [int(each) for each in said if each.isdigit()]
    if name == "decisions":
        there = {int(key, 16) for key in saved_audit.decisions(place / "A")}
    elif name == "uses":
        there = {int(str(use.get("query", "f")), 16) for use in permission.read_log(place / "A")}
    elif name == "audit log":
        if not numbers and not (place / "A" / FILE).exists():
            return ""  # killed before the first line
        verify(place / "A")
        there = {case for seen in read(place / "A", account="anna") for case in seen.cases}
    elif name == "C-STORE":
        there = {int.from_bytes(path.read_bytes()[:2], "big") for path in (place / "spool").rglob("*.dcm")}
    elif name == "REST":
        with Archive.open(place / "A", read_only=True) as archive:
            paths = archive.paths()
        there = {id_ for id_, path in paths.items() if Path(path).exists()}
        if "removed 3" in said and 3 in paths:
            return "a case that was removed is found"
    else:
        there = set(numbers)
    return f"lost {sorted(set(numbers) - there)}" if set(numbers) - there else ""


def found(place: Path) -> str:
    """Whether a person on the way out is found by a search or by matching."""
    with Archive.open(place / "A", read_only=True) as archive:
        left = {case.subject for _, case in archive.cases()}
        begun = bool(archive.removals())
        matrix = archive.vectors()[1]
        hits = archive.search(matrix[0], 999).cases
    if begun and ("P00001" in left or any(hit.subject == "P00001" for hit in hits)):
        return "a search finds who was removed"
    with Archive.open(place / "A" / "matching", read_only=True) as inner:
        hidden = gallery.missing(place / "A", inner)
        named = {case.subject for id_, case in inner.cases() if id_ not in hidden}
    return "matching finds who was removed" if named - left else ""


def start(act: Act, place: Path) -> tuple[int, int]:
    """Run it in a process group of its own; its number, and where it says what is done."""
    out, back = os.pipe()
    if (child := os.fork()) == 0:
        os.setsid()
        os.close(out)
        with open(os.devnull, "w") as quiet:  # noqa: PTH123
            os.dup2(quiet.fileno(), 2)
        code = 1
        with contextlib.suppress(BaseException):
            code = act(place, lambda what: os.write(back, f"{what}\n".encode()))
        os._exit(code)
    os.close(back)
    return child, out


def finish(child: int, out: int) -> tuple[int, list[str]]:
    with os.fdopen(out) as file:
        said = file.read().split("\n")[:-1]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def undisturbed(kept: Path, name: str) -> tuple[float, dict[str, str], int]:
    """How long it takes, what it leaves, and how it ends: learning of few labels ends with 1."""
    place = kept / "round"
    shutil.copytree(kept / "base", place)
    begun = time.monotonic()
    code, _ = finish(*start(ACTS[name], place))
    took = time.monotonic() - begun
    assert code in (0, 1), (name, code)
    left = state(place)
    shutil.rmtree(place)
    return took, left, code


def one_round(kept: Path, name: str, wait: float, wanted: dict[str, str], ends: int) -> tuple[bool, str]:
    """Whether it was killed before its end, and what is wrong."""
    place = kept / "round"
    shutil.copytree(kept / "base", place)
    try:
        child, out = start(ACTS[name], place)
        time.sleep(wait)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        code, said = finish(child, out)
        fault = lost(place, name, said) or (
            found(place) if name in ("remove", "forget") and (place / "A").exists() else ""
        )
        if not fault:
            again, _ = finish(*start(ACTS[name], place))
            if code != ends and again != ends and not _was_over(place, name, wanted):
                fault = f"the repeat ended with {again}"
        if not fault and name in REPEATED and state(place) != wanted:
            after = state(place)
            fault = "the repeat left something else: " + ", ".join(
                key for key in after.keys() | wanted.keys() if after.get(key) != wanted.get(key)
            )
        return code == -signal.SIGKILL, fault
    finally:
        shutil.rmtree(place)


def _was_over(place: Path, name: str, wanted: dict[str, str]) -> bool:
    """Whether it was killed between its last change and saying so; a repeat then says so."""
    return name in REPEATED and state(place) == wanted


def make(kept: Path) -> None:
    """An archive of phantoms with matching (by copies of its own descriptors), and photographs."""
    import gzip

    from foveola.datasets.manifest import Manifest
    from foveola.indexing import add_missing
    from foveola.phantom import generate

    known = generate(kept / "known", subjects=12, visits=1, seed=5, size=256, masks=False)
    generate(kept / "other", subjects=3, visits=1, seed=77, size=256, masks=False)
    (kept / "other/images").rename(kept / "new")
    base = kept / "base"
    add_missing(base / "A", list(Manifest.read(known).cases()))
    shutil.copytree(base / "A", base / "A" / "matching")
    shutil.rmtree(base / "A/matching/encoder")
    permission.switch_on(base / "A", "a test")
    (base / "OLD").mkdir()
    older = Path(__file__).parents[1] / "archive/kept/format-1.sqlite.gz"
    (base / "OLD/archive.sqlite").write_bytes(gzip.decompress(older.read_bytes()))
    shutil.copytree(base / "A/encoder", base / "OLD/encoder")
    shutil.copytree(base / "A", base / "R")
    assert run("regions", "on", base / "R") == 0
    for grade in ("0", "1"):
        shutil.copytree(kept / "new", kept / "classes" / grade)
    assert finish(*start(program("encoder", "export", "model.onnx"), kept))[0] == 0
    (kept / "tiny.toml").write_text(TRAINING)


def campaign(kept: Path, rounds: int, seed: int, names: list[str]) -> dict[str, object]:
    """Run it; what was done, and the faults."""
    drawn = random.Random(seed)
    known = {name: undisturbed(kept, name) for name in names}
    done, killed, faults = Counter[str](), Counter[str](), []
    for number in range(rounds):
        name = names[number % len(names)]
        took, wanted, ends = known[name]
        was_killed, fault = one_round(kept, name, drawn.uniform(0, took), wanted, ends)
        done[name] += 1
        killed[name] += was_killed
        if fault:
            faults.append(f"round {number}, {name}: {fault}")
            print(faults[-1], file=sys.stderr, flush=True)
        if number % 20 == 19:
            print(f"{number + 1} rounds, {sum(killed.values())} kills", file=sys.stderr, flush=True)
    return {"rounds": sum(done.values()), "killed": sum(killed.values()), "by command": dict(killed), "faults": faults}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=sorted(ACTS), default=list(ACTS))
    parser.add_argument("--folder", type=Path, help="where to work; the system's by default")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        make(Path(folder))
        told = campaign(Path(folder), chosen.rounds, chosen.seed, chosen.only)
    print(json.dumps(told))
    return 1 if told["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
