"""How fast a service with a large archive starts and answers.

    python benchmarks/service_load.py [--cases 100000] [--folder KEEP] [--seconds 15]

Builds an archive (descriptors made up around those of phantoms, records with eyes, grades, findings
and people, photographs shared by many cases), starts `foveola serve` as a process and prints

- the time from the start of the process until it answers that it is alive, shows the first page
  (asked for as soon as it is alive), is ready to search, and has answered a first search,
- of photographs posted one after another, the median and the 95th percentile in milliseconds:
  until the JSON of 12 hits, until the page of 12 hits, and until the page with its 12 thumbnails,
- searches a second at 1, 8 and 32 users, each sending the next photograph when it is answered,
- how busy the machine is: seconds for 20 million steps of a Python loop before each part, and the
  share of all cores that a virtual machine's host gave to others meanwhile (Linux alone says it);
  and the service's own processor time, which hardly depends on that.

With --folder the archive is built once and used again.
"""

import argparse
import http.client
import itertools
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from foveola.archive import Entry
from foveola.encoders.encoder import Encoder
from foveola.images.decode import decode
from foveola.indexing import open_archive
from foveola.learned import refresh
from foveola.phantom import generate
from foveola.records import Case

PEOPLE = 16  # phantoms that are rendered, with both eyes
SIDE = 1024  # pixels of their photographs
ASKING = 8  # people who ask and are not in the archive
BATCH = 2000
HITS = 12
USERS = (1, 8, 32)
EYES = ("right", "left")
FINDINGS = ("D", "G", "C", "A", "H", "M", "O")


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to keep the archive")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each throughput")
    parser.add_argument("--starts", type=int, default=5, help="of which the median is printed")
    parser.add_argument("--queries", type=int, default=200, help="of each latency")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = given.folder or Path(made)
        if not (folder / "archive" / "trust.json").exists():
            build(folder, given.cases)
        photographs = asking(folder)
        print(f"{given.cases:,} cases, {os.cpu_count()} cores; a loop alone: {yardstick():.2f} s")
        measure_start(folder / "archive", given.starts)
        with served(folder / "archive") as (port, process):
            measure_latency(port, process, photographs, given.queries)
            measure_throughput(port, photographs, given.seconds)
            print(f"memory of the service: {process.memory_info().rss / 2**20:.0f} MiB")


# The archive


def build(folder: Path, count: int) -> None:
    """An archive of so many cases in folder/archive, and photographs to ask with."""
    generate(folder / "phantoms", subjects=PEOPLE, visits=1, seed=5, size=SIDE, masks=False)
    generate(folder / "asking", subjects=ASKING, visits=1, seed=6, size=SIDE, masks=False)
    files = sorted((folder / "phantoms" / "images").iterdir())
    links = folder / "links"
    links.mkdir(exist_ok=True)
    archive, own = open_archive(folder / "archive")
    with archive:
        encoder = Encoder.load(own)
        real = [encoder.encode_photograph(decode(f, min_side=encoder.contract.min_side)) for f in files]
        rng = np.random.default_rng(0)
        for start in range(0, count, BATCH):
            rows = range(start, min(start + BATCH, count))
            archive.add([entry(i, files, links, real, rng) for i in rows])
        refresh(archive)


def entry(i: int, files: list[Path], links: Path, real: list, rng: np.random.Generator) -> Entry:
    """A case: a link to a phantom's photograph, a descriptor near that of the phantom."""
    which = i % len(files)
    path = links / f"{i}.jpg"
    if not path.exists():
        os.link(files[which], path)
    vector = real[which] + rng.normal(0, 0.05, len(real[which]))
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    findings = frozenset(f for f in FINDINGS if rng.random() < 0.15)
    case = Case(
        image=path.name,
        path=str(path),
        subject=f"s{i // 4}",
        eye=EYES[i % 2],
        visit=6.0 * (i % 3),
        grade=int(rng.integers(5)),
        findings=findings if i % 3 else None,
        collection="made",
        extra={"age": int(rng.integers(30, 80)), "camera": f"C{i % 5}"},
    )
    digest = i.to_bytes(16, "big")
    return Entry(case=case, descriptor=vector, digest=digest, size=path.stat().st_size, mtime_ns=i)


def asking(folder: Path) -> list[bytes]:
    """The photographs that are posted."""
    return [path.read_bytes() for path in sorted((folder / "asking" / "images").iterdir())]


# The service


@contextmanager
def served(archive: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Port and process of a service that is ready."""
    process = start(archive)
    try:
        port = port_of(process)
        until_ready(port)
        yield port, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def start(archive: Path, port: int = 0) -> "subprocess.Popen[str]":
    """A service as it is started."""
    command = [sys.executable, "-u", "-m", "foveola", "serve", str(archive), "--port", str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def port_of(process: "subprocess.Popen[str]") -> int:
    """Where it listens, once it says so."""
    assert process.stdout is not None
    return int(re.findall(r":(\d+) ", process.stdout.readline())[0])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def until_alive(port: int) -> None:
    """Asks from before it listens."""
    while True:
        try:
            assert ask(port, "GET", "/api/v1/health")[0] == 200
        except ConnectionRefusedError:
            time.sleep(0.005)
        else:
            return


def until_ready(port: int) -> None:
    while ask(port, "GET", "/api/v1/ready")[0] != 200:
        time.sleep(0.01)


def ask(port: int, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
    """One request on a connection of its own."""
    with Talk(port) as talk:
        return talk.ask(method, path, body, kind)[:2]


class Talk:
    """A connection that is kept open, as a browser does."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes, str]:
        """Status, body and where it leads."""
        headers = {"Content-Type": kind} if kind else {}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        return answer.status, data, answer.headers.get("location", "")


def form(photograph: bytes, **fields: object) -> tuple[bytes, str]:
    """A multipart form with a photograph."""
    mark = b"--mark-of-the-form"
    parts = [
        mark + f'\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in fields.items()
    ]
    head = b'\r\nContent-Disposition: form-data; name="photograph"; filename="q"\r\n\r\n'
    parts.append(mark + head + photograph)
    kind = "multipart/form-data; boundary=" + mark[2:].decode()
    return b"\r\n".join([*parts, mark + b"--\r\n"]), kind


# What is measured


def measure_start(archive: Path, repeats: int) -> None:
    names = ("alive", "first page", "ready", "first search", "processor until ready")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    tiny = form(asking(archive.parent)[0], k=HITS)
    machine = Machine()
    for _ in range(repeats):
        port = free_port()
        begin = time.perf_counter()
        process = start(archive, port)
        until_alive(port)
        seconds["alive"].append(time.perf_counter() - begin)
        assert ask(port, "GET", "/")[0] == 200
        seconds["first page"].append(time.perf_counter() - begin)
        until_ready(port)
        seconds["ready"].append(time.perf_counter() - begin)
        seconds["processor until ready"].append(spent(psutil.Process(process.pid)) / 1000)
        assert ask(port, "POST", "/api/v1/search", *tiny)[0] == 200
        seconds["first search"].append(time.perf_counter() - begin)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    said = ", ".join(f"{name} {statistics.median(seconds[name]):.2f} s" for name in names)
    print(f"start, median of {repeats}: {said}   {machine}", flush=True)


def spent(process: psutil.Process) -> float:
    """Milliseconds of processor time."""
    times = process.cpu_times()
    return 1000 * (times.user + times.system)


def measure_latency(port: int, process: psutil.Process, photographs: list[bytes], count: int) -> None:
    kinds: dict[str, Callable[[Talk, bytes], None]] = {
        "search": search,
        "page": partial(page, thumbnails=False),
        "page with thumbnails": partial(page, thumbnails=True),
    }
    for name, kind in kinds.items():
        machine = Machine()  # before: a connection is not kept open as long as its loop may take
        with Talk(port) as talk:
            work = partial(kind, talk)
            for photograph in photographs:  # what is made once
                work(photograph)
            before = spent(process)
            times = [timed(work, photograph) for photograph in _round(photographs, count)]
            own = (spent(process) - before) / count
        p50, p95 = np.percentile(times, (50, 95))
        print(f"{name:22} p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   processor {own:6.1f} ms   {machine}", flush=True)


def _round(photographs: list[bytes], count: int) -> list[bytes]:
    return [photographs[i % len(photographs)] for i in range(count)]


def timed(work: Callable[[bytes], None], photograph: bytes) -> float:
    """Milliseconds."""
    begin = time.perf_counter()
    work(photograph)
    return 1000 * (time.perf_counter() - begin)


def search(talk: Talk, photograph: bytes) -> None:
    status, data, _ = talk.ask("POST", "/api/v1/search", *form(photograph, k=HITS))
    assert status == 200, data


def page(talk: Talk, photograph: bytes, *, thumbnails: bool) -> None:
    status, data, where = talk.ask("POST", "/queries", *form(photograph))
    assert status == 303, data
    status, data, _ = talk.ask("GET", where)
    assert status == 200, data
    shown = set(re.findall(rb"/cases/\d+/thumbnail", data))
    assert len(shown) == HITS, len(shown)
    for path in shown if thumbnails else ():
        assert talk.ask("GET", path.decode())[0] == 200


def measure_throughput(port: int, photographs: list[bytes], seconds: float) -> None:
    for users in USERS:
        machine = Machine()
        times: list[float] = []
        end = time.perf_counter() + seconds

        def user(first: int, times: list[float] = times, end: float = end) -> None:
            with Talk(port) as talk:
                for turn in itertools.count(first):
                    if time.perf_counter() >= end:
                        return
                    photograph = photographs[turn % len(photographs)]
                    times.append(timed(partial(search, talk), photograph))

        threads = [threading.Thread(target=user, args=(i,)) for i in range(users)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = len(times) / (time.perf_counter() - begin)
        p50, p95 = np.percentile(times, (50, 95))
        print(f"{users:3} users: {rate:6.1f} searches/s   p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   {machine}")


class Machine:
    """How far the machine was ours, from its making until it is printed."""

    def __init__(self) -> None:
        self._loop = yardstick()
        self._begin, self._lost = time.perf_counter(), lost()

    def __str__(self) -> str:
        cores = (os.cpu_count() or 1) * (time.perf_counter() - self._begin)
        return f"(loop {self._loop:.2f} s, {(lost() - self._lost) / cores:.0%} taken by others)"


def lost() -> float:
    """Seconds of all cores that went to other machines of the same host since the start."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def yardstick() -> float:
    """Seconds for 20 million steps of a Python loop: 1.1 to 1.2 where nothing else runs."""
    begin = time.perf_counter()
    total = 0
    for i in range(20_000_000):
        total += i
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
