"""Run a function on a stranger's bytes in a child process of bounded memory and time.

The decoders of DICOM are C code, and even its plain elements can unpack to many times their
length. What goes wrong with them there ends the child, not the program, and the next call
starts a new one. A child stays for the next call, as starting one takes about a second of the
processor. It runs this file, reads requests from stdin and answers on stdout:

    request   {"function": "module:name", "size": N, "seconds": S, "with": {...}} line, N bytes
    answer    {..., "size": M, "last": whether the child ends after it} line, M bytes

Nothing else reaches stdout or the terminal, whatever a decoder prints: a library's warning may
quote what it could not read, and that may be a name.
"""

import atexit
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from foveola.errors import ImageError

MOST = min(4, os.cpu_count() or 1)  # children at once
_GRACE = 10.0  # seconds of the clock beyond thrice those of the processor, on a busy machine


class Pool:
    """Children that wait for work; may be used from several threads, and after a fork.

    Args:
        most: children at once, at least 1; a further caller waits for one of them.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._most)

    def call(self, function: str, data: bytes, *, seconds: float, **arguments: Any) -> tuple[dict[str, Any], bytes]:
        """Call a function of ours in a child.

        Args:
            function: "module:name" of `(data: bytes, **arguments) -> (facts, bytes)`, or a list
                of bytes that are sent one after the other.
            data: what it is to work on.
            seconds: of the processor that it may take; thrice that and 10 s by the clock.
            arguments: plain values, as in JSON.

        Returns:
            What the function returned: facts (plain values) and bytes.

        Raises:
            ImageError: the function raised one, took too long or too much memory, or crashed.
        """
        if os.getpid() != self._process:
            self._begin()  # a fork: the children belong to the parent
        with self._places:
            child = self._take()
            try:
                answer, payload = child.ask(function, data, seconds, arguments)
            except BaseException:
                child.end()
                raise
            if answer.pop("last"):
                child.end()
            else:
                with self._lock:
                    self._idle.append(child)
        if "error" in answer:
            raise ImageError(answer["error"])
        return answer, payload

    def _take(self) -> "_Child":
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.alive():
                    return child
                child.end()
        return _Child()

    def close(self) -> None:
        """End the waiting children; a later call starts new ones."""
        if os.getpid() != self._process:
            return
        with self._lock:
            waiting, self._idle = self._idle, []
        for child in waiting:
            child.end()


class _Child:
    """One process that answers one request after the other."""

    def __init__(self) -> None:
        self._late = False
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "foveola.images.limited"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **single},
        )

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, function: str, data: bytes, seconds: float, arguments: dict[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        request = {"function": function, "size": len(data), "seconds": seconds, "with": arguments}
        clock = threading.Timer(3 * seconds + _GRACE, self._stop)
        clock.daemon = True
        clock.start()
        try:
            return self._exchange(json.dumps(request).encode() + b"\n", data)
        except (OSError, ValueError, EOFError):
            raise ImageError(self._why(seconds)) from None
        finally:
            clock.cancel()

    def _exchange(self, line: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise EOFError
        to.write(line)
        to.write(data)
        to.flush()
        answer: dict[str, Any] = json.loads(back.readline())
        size = answer.pop("size")
        payload = back.read(size)
        if len(payload) != size:
            raise EOFError
        return answer, payload

    def _stop(self) -> None:
        self._late = True
        self._process.kill()

    def _why(self, seconds: float) -> str:
        """Why the child ended, as a sentence."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        if self._late or code in (-signal.SIGXCPU, -signal.SIGKILL):
            return (
                f"decoding it took more than the {seconds:g} s allowed (Limits.max_seconds), "
                "or more memory than there is; export it smaller"
            )
        return "its decoder crashed, so the file is damaged; copy or send it again"

    def end(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was left to write has no reader any more
                pipe.close() if pipe else None
        self._process.wait()


POOL = Pool()
atexit.register(POOL.close)


# --- the child ---

MEMORY = 448 * 2**20  # bytes beyond those of the interpreter with its libraries
NO_MEMORY = (
    f"decoding it needs more memory than the {MEMORY // 2**20} MiB allowed; export it smaller, or as a plain JPEG"
)


def serve() -> None:
    """Answer until stdin ends."""
    source, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us
    # A core file would hold a patient's data, and a decoder has nothing to write.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    while line := source.readline():
        request = json.loads(line)
        module, _, name = request["function"].partition(":")
        function = getattr(importlib.import_module(module), name)  # with the libraries that it needs
        _limit_memory()
        data = source.read(request["size"])
        if not _answer(function, request, data, answers):
            return


@cache
def _limit_memory() -> None:
    """Once, when the libraries that the first request needs are loaded: they are no stranger's."""
    statm = Path("/proc/self/statm")  # Linux has it; elsewhere 1 GiB is near enough
    pages = int(statm.read_text().split()[0]) if statm.exists() else 2**18
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def _answer(function: Callable[..., Any], request: dict[str, Any], data: bytes, answers: BinaryIO) -> bool:
    """Whether to go on: after a lack of memory nobody knows what is left of it."""
    sound = True
    _limit_time(request["seconds"])
    try:
        facts, payload = function(data, **request["with"])
    except ImageError as error:
        facts, payload = {"error": str(error)}, b""
    except MemoryError:
        facts, payload, sound = {"error": NO_MEMORY}, b"", False
    except Exception as error:  # a library may stumble over any damage
        # Its kind only: the message may quote the file.
        kind = type(error).__name__
        facts, payload = {"error": f"it is damaged ({kind}); copy or send it again"}, b""
    parts = payload if isinstance(payload, list) else [payload]
    said = {**facts, "size": sum(map(len, parts)), "last": not sound}
    answers.writelines([json.dumps(said).encode(), b"\n", *parts])
    answers.flush()
    return sound


def _limit_time(seconds: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    most = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


if __name__ == "__main__":
    serve()
