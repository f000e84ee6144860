"""Run a function on a stranger's bytes in a child process of bounded memory and time.

The decoders of DICOM are C code, and even its plain elements can unpack to many times their
length. What goes wrong with them there ends the child, not the program, and the next call
starts a new one. A child stays for the next call, as starting one takes about a second of the
processor.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

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
            [sys.executable, "-P", "-m", "foveola.images._limited_child"],
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
            _quietly(pipe.close) if pipe else None
        self._process.wait()


def _quietly(do: Callable[[], Any]) -> None:
    try:
        do()
    except OSError:  # what was left to write has no reader any more
        return


POOL = Pool()
atexit.register(POOL.close)
