"""Record what Foveola answers, so that a change of its house can be held against it.

    python tests/campaigns/behaviour.py before.json          # records
    python tests/campaigns/behaviour.py before.json --against   # lists what differs; 1 if anything

Draws phantoms in a fresh folder and runs every command that answers, with --json; takes the OpenAPI
document, the fingerprints of the released networks, and what REST answers. Times, random names and
the folder are replaced by words.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IMAGE, FELLOW = "new/images/P00000_L_m000.jpg", "new/images/P00000_R_m000.jpg"
COMMANDS = """
phantom known --subjects 24 --visits 2 --seed 5 --size 256 --no-masks
phantom new --subjects 2 --visits 1 --seed 77 --size 256 --no-masks
card known/manifest.csv
index A known/manifest.csv
index A known/manifest.csv
info A
learn A
search A IMAGE -k 5
search A IMAGE -k 5 --by looks --where "grade >= 1"
search A --left IMAGE --right FELLOW -k 3
read IMAGE FELLOW
read --left IMAGE
evaluate A --label grade
evaluate A --queries new/manifest.csv --label findings
identify A --identity eye --unit months
risk A
duplicates known/manifest.csv
regions on A
search A IMAGE -k 3 --region .3,.3,.3,.3
matching on A --purpose test
match A IMAGE
matching log A
audit A
study new A S --queries 4
accounts list A
backup A B
remove A --image images/P00003_L_m000.jpg
forget A P00004 --yes
info A
encoder export E.onnx
encoder add E.onnx --size 352 --name mine --out M
matching off A
info missing
search A missing.jpg
""".replace("IMAGE", IMAGE).replace("FELLOW", FELLOW)
MOVING = {"milliseconds", "seconds", "time", "created", "ended", "made", "date", "bytes", "version"}
WORDS = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+\d\d:?\d\d)?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|MiB|MB|kB)\b"), "SO MUCH"),
)


def main() -> int:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path)
    parser.add_argument("--against", action="store_true", help="compare; write nothing")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        now = json.loads(json.dumps(behaviour(Path(folder))))
    if not given.against:
        given.record.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
        print(f"{len(now)} answers written")
        return 0
    before = json.loads(given.record.read_text())
    changed = list(differences(before, now))
    print("\n".join(changed[:200]) or f"all {len(now)} answers are as before")
    return bool(changed)


def behaviour(folder: Path) -> dict[str, Any]:
    """Every answer by what was asked."""
    found = {}
    for number, line in enumerate(COMMANDS.strip().splitlines()):
        found[f"{number:02} foveola {line}"] = plain(asked(folder, line), folder)
    return found | {f"rest {name}": plain(said, folder) for name, said in rest(folder).items()}


def asked(folder: Path, line: str) -> dict[str, Any]:
    """What a command answers; JSON as it is, and its exit code."""
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
    done = subprocess.run(
        [sys.executable, "-m", "foveola", *words, "--json"],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    try:
        said = [json.loads(each) for each in done.stdout.splitlines()]
    except ValueError:
        said = done.stdout
    return {"code": done.returncode, "said": said, "stderr": done.stderr.splitlines()}


def rest(folder: Path) -> dict[str, Any]:
    """The OpenAPI document, fingerprints, and answers to a few requests."""
    from fastapi.testclient import TestClient

    import foveola.encoders
    from foveola.server import create_app

    files = {"photograph": (folder / IMAGE).read_bytes()}
    eyes = {"left": (folder / IMAGE).read_bytes(), "right": (folder / FELLOW).read_bytes()}
    with TestClient(create_app(folder / "A")) as client:
        said = {
            "openapi": client.get("/api/openapi.json").json(),
            "info": client.get("/api/v1/archive").json(),
            "cases": client.get("/api/v1/cases", params={"count": 5}).json(),
            "search": client.post("/api/v1/search", files=files, data={"k": 3}).json(),
            "read": client.post("/api/v1/read", files=eyes).json(),
            "not a photograph": client.post("/api/v1/search", files={"photograph": b"x"}).json(),
        }
    released = Path(foveola.encoders.__file__).parent / "released"
    files = [*released.glob("*/encoder.json"), *released.glob("*/reader.json")]
    described = {file.parent.name: json.loads(file.read_text()) for file in files}
    return said | {"fingerprints": {name: each["fingerprint"] for name, each in described.items()}}


def plain(value: Any, folder: Path) -> Any:
    """The same without what changes from run to run."""
    if isinstance(value, dict):
        return {key: "MOVING" if key in MOVING else plain(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each, folder) for each in value]
    if isinstance(value, str):
        value = value.replace(str(folder), "FOLDER")
        for pattern, word in WORDS:
            value = pattern.sub(word, value)
    return value


def differences(before: Any, now: Any, at: str = "") -> Iterator[str]:
    """What differs, each with its place."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from differences(before.get(key), now.get(key), f"{at}/{key}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, pair in enumerate(zip(before, now, strict=True)):
            yield from differences(*pair, f"{at}/{place}")
    elif before != now:
        yield f"{at}: {str(before)[:150]} -> {str(now)[:150]}"


if __name__ == "__main__":
    sys.exit(main())
