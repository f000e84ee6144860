"""Strangers and members attack a service that runs; others are served, and memory stays bounded.

    python tests/campaigns/attacks.py --rounds 5

A service is started as `foveola serve` starts it, on an archive of phantoms with accounts. Each
round runs every attack once; its resident memory, children included, is looked at all the time, and
from another address a member goes on asking. Prints a JSON object; exits with 1 where memory went
beyond the bound, the member was not served, or a picture was shown without a line in the log.
"""

import argparse
import contextlib
import json
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np

from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.phantom import generate
from foveola.server.audit import read
from foveola.server.auth import Accounts

MOST = 1_500_000_000  # bytes of resident memory
SLOWEST = 30.0  # seconds that the member may have to wait
STRANGER, MEMBER = "127.0.0.1", "127.0.0.2"  # both are this computer
PIECE = b"x" * 65_536


class Target:
    """What is attacked.

    Args:
        port: of the service.
        token: of an account that means no good.
        seconds: that each attack goes on.
    """

    def __init__(self, port: int, token: str, seconds: float) -> None:
        self.port, self.token, self.seconds = port, token, seconds

    def connected(self) -> socket.socket:
        """A connection of the attacker's."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=5, source_address=(STRANGER, 0))
        made.settimeout(0.2)
        return made

    def head(self, line: str, *fields: str, known: bool = False) -> bytes:
        """Of a request."""
        own = [f"Authorization: Bearer {self.token}"] if known else []
        return "\r\n".join([f"{line} HTTP/1.1", "Host: 127.0.0.1", *own, *fields, "", ""]).encode()

    def flood(self, count: int, begin: bytes, piece: bytes, most: int) -> None:
        """Send the beginning on many connections, then pieces, up to so many bytes on each."""
        held = []
        with contextlib.suppress(OSError):
            for _ in range(count):
                held.append(self.connected())
        end, sent = time.monotonic() + self.seconds, dict.fromkeys(held, 0)
        for each in held:
            _send(each, begin)
        while time.monotonic() < end and sent:
            for each in list(sent):
                if sent[each] >= most:
                    continue
                if not _send(each, piece):
                    del sent[each]
                    continue
                sent[each] += len(piece)
            if all(value >= most for value in sent.values()):
                time.sleep(0.05)
        for each in held:
            each.close()


def _send(to: socket.socket, data: bytes) -> bool:
    """Whether it may go on; what is not taken now is left."""
    try:
        to.sendall(data)
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


FORM = "Content-Type: multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="photograph"; filename="x"\r\n\r\n'


def log_ins(at: Target) -> None:
    """Unfinished log-ins of 61 MB."""
    at.flood(36, at.head("POST /login", FORM, "Content-Length: 61000000") + PART, PIECE, 60_000_000)


def small_log_ins(at: Target) -> None:
    """Log-ins that say they are small and never end."""
    at.flood(200, at.head("POST /login", FORM, "Content-Length: 7999") + PART, b"x", 7_000)


def searches(at: Target) -> None:
    """Unfinished searches of a member's."""
    begin = at.head("POST /api/v1/search", FORM, "Content-Length: 61000000", known=True) + PART
    at.flood(40, begin, PIECE, 60_000_000)


def bodies_of_get(at: Target) -> None:
    """Endless bodies of what has none."""
    chunk = b"10000\r\n" + PIECE + b"\r\n"
    for line in ("GET /login", "GET /api/v1/cases/1", "DELETE /api/v1/cases/999"):
        at.flood(10, at.head(line, "Transfer-Encoding: chunked", known=True), chunk, 1 << 40)


def without_length(at: Target) -> None:
    """Endless bodies that do not say how long they are."""
    chunk = b"10000\r\n" + PIECE + b"\r\n"
    begin = at.head("POST /api/v1/search", FORM, "Transfer-Encoding: chunked", known=True)
    at.flood(20, begin, chunk, 1 << 40)


def after_the_answer(at: Target) -> None:
    """Strangers who go on sending what was refused."""
    at.flood(20, at.head("POST /queries", FORM, "Content-Length: 63000000"), PIECE, 62_000_000)


def idle(at: Target) -> None:
    """A thousand connections that say nothing."""
    at.flood(1000, b"", b"", 0)


def slow_heads(at: Target) -> None:
    """Heads that come a sign at a time."""
    at.flood(200, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"x", 1_000)


def large_heads(at: Target) -> None:
    """Heads without end."""
    at.flood(100, b"GET / HTTP/1.1\r\nX: ", PIECE, 1 << 30)


def evasions(at: Target) -> None:
    """A picture by addresses that the log might not understand."""
    bearing = {"Authorization": f"Bearer {at.token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{at.port}", headers=bearing) as client:
        client.get("/api/v1/cases", params={"limit": 1000})  # covers thumbnails of all
        for number in ("+2", "2.0", "%202", "02", "%2B2"):
            for path in ("/cases/{}/picture", "/api/v1/cases/{}/picture", "/cases/{}"):
                if client.get(path.format(number)).status_code < 400:
                    raise SystemExit(f"{path.format(number)} was answered")


def large_pictures(at: Target) -> None:
    """Valid pictures that are small as files."""
    bearing = {"Authorization": f"Bearer {at.token}"}
    address = f"http://127.0.0.1:{at.port}/api/v1/search"
    for data in _pictures():
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(address, files={"photograph": data}, headers=bearing, timeout=60)


def _pictures() -> Iterator[bytes]:
    import cv2
    from PIL import Image

    def saved(image: Image.Image, kind: str, **how: int) -> bytes:
        from io import BytesIO

        out = BytesIO()
        image.save(out, kind, **how)
        return out.getvalue()

    yield cv2.imencode(".png", np.full((7000, 7000, 4), 40_000, np.uint16))[1].tobytes()
    yield saved(Image.new("RGB", (40_000, 64), (120, 60, 20)), "PNG")
    yield saved(Image.new("CMYK", (9000, 9000), (20, 90, 90, 0)), "JPEG")
    yield saved(Image.new("RGB", (9000, 9000), (120, 60, 20)), "WEBP", quality=50)


ATTACKS: tuple[Callable[[Target], None], ...] = (
    log_ins,
    small_log_ins,
    searches,
    bodies_of_get,
    without_length,
    after_the_answer,
    idle,
    slow_heads,
    large_heads,
    evasions,
    large_pictures,
)


class Watch:
    """Looks at the memory of a process and its children until it ends.

    Args:
        process: whose.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process, self.most = process, 0
        threading.Thread(target=self._look, daemon=True).start()

    def reset(self) -> int:
        """The most since the last time."""
        most, self.most = self.most, 0
        return most

    def _look(self) -> None:
        while self._process.poll() is None:
            self.most = max(self.most, sum(map(_resident, _family(self._process.pid))))
            time.sleep(0.03)


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, TypeError):  # it ends
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024  # type: ignore[index]
    return 0


class Member:
    """Somebody who works while others attack, from another address.

    Args:
        port: of the service.
        token: of an account.
        photograph: to ask about.
    """

    def __init__(self, port: int, token: str, photograph: bytes) -> None:
        self._port, self._token, self._photograph = port, token, photograph
        self.served, self.failed, self.slowest = 0, [], 0.0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def end(self) -> None:
        """Stop working."""
        self._ends.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ends.wait(0.2):
            for method, path, files in (
                ("GET", "/api/v1/cases/1", None),
                ("POST", "/api/v1/search", {"photograph": self._photograph}),
            ):
                self._ask(method, path, files)

    def _ask(self, method: str, path: str, files: dict[str, bytes] | None) -> None:
        start = time.monotonic()
        transport = httpx.HTTPTransport(local_address=MEMBER)  # a new connection each time
        try:
            with httpx.Client(transport=transport, timeout=SLOWEST) as client:
                answer = client.request(
                    method,
                    f"http://127.0.0.1:{self._port}{path}",
                    files=files,
                    headers={"Authorization": f"Bearer {self._token}"},
                )
            said = "" if answer.status_code == 200 else f"{method} {path}: {answer.status_code}"
        except httpx.HTTPError as error:
            said = f"{method} {path}: {type(error).__name__}"
        self.slowest = max(self.slowest, time.monotonic() - start)
        if said:
            self.failed.append(said)
        else:
            self.served += 1


@contextlib.contextmanager
def serving(archive: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """The service as a process, and its port."""
    command = [sys.executable, "-m", "foveola", "serve", str(archive), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield process, int(re.search(r":(\d+) ", line)[1])  # type: ignore[index]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


def closed(photographs: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """An archive of these with accounts, and their tokens."""
    archive = folder / "A"
    add_missing(archive, list(Manifest.read(photographs, collection="p").cases()))
    with Accounts.create(archive) as accounts:
        for name in ("mallory", "anna"):
            accounts.add(name, "curator", secrets.token_urlsafe(16))
        tokens = {name: accounts.make_token(name, "", 1) for name in ("mallory", "anna")}
    return archive, tokens


def run(photographs: Path, folder: Path, rounds: int, seconds: float, names: list[str]) -> dict:
    """Attack; returns what was seen."""
    archive, tokens = closed(photographs, folder)
    picture = Path(next(Manifest.read(photographs, collection="p").cases()).path).read_bytes()
    most: dict[str, int] = {}
    with serving(archive) as (process, port):
        watch, at = Watch(process), Target(port, tokens["mallory"], seconds)
        member = Member(port, tokens["anna"], picture)
        try:
            while member.served < 4 and not member.failed:
                time.sleep(0.1)
            rest = watch.reset()
            for _ in range(rounds):
                for attack in (a for a in ATTACKS if a.__name__ in names):
                    attack(at)
                    peak = watch.reset()
                    most[attack.__name__] = max(peak, most.get(attack.__name__, 0))
        finally:
            member.end()
        lives = process.poll() is None
    evaded = [seen for seen in read(archive, account="mallory") if seen.action == "picture"]
    return {
        "rounds": rounds,
        "seconds": seconds,
        "resident_mb_before": rest // 10**6,
        "resident_mb": {name: value // 10**6 for name, value in most.items()},
        "resident_mb_most": max(most.values()) // 10**6,
        "bound_mb": MOST // 10**6,
        "member_served": member.served,
        "member_failed": member.failed[:20],
        "member_slowest_s": round(member.slowest, 2),
        "lives": lives,
        "pictures_logged_though_refused": len(evaded),
        "held": lives and not member.failed and max(most.values()) <= MOST,
    }


def main(arguments: list[str] | None = None) -> int:
    """Read arguments, attack, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0, help="that each attack goes on")
    parser.add_argument("--photographs", type=Path, help="manifest; without, phantoms are drawn")
    names = [attack.__name__ for attack in ATTACKS]
    parser.add_argument("--attack", action="append", choices=names, help="repeatable; all")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        photographs = given.photographs or generate(
            Path(folder) / "phantoms", subjects=4, visits=2, seed=1, size=256, masks=False
        )
        found = run(photographs, Path(folder), given.rounds, given.seconds, given.attack or names)
    print(json.dumps(found, indent=1))
    return 0 if found["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
