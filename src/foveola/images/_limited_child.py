"""The child of `limited`: reads requests from stdin and answers on stdout, within limits.

    request   {"function": "module:name", "size": N, "seconds": S, "with": {...}} line, N bytes
    answer    {..., "size": M, "last": whether the child ends after it} line, M bytes

Nothing else reaches stdout or the terminal, whatever a decoder prints: a library's warning may
quote what it could not read, and that may be a name.
"""

import importlib
import json
import os
import resource
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from foveola.errors import ImageError

MEMORY = 448 * 2**20  # bytes beyond those of the interpreter with its libraries
NO_MEMORY = (
    f"decoding it needs more memory than the {MEMORY // 2**20} MiB allowed; export it smaller, or as a plain JPEG"
)


def main() -> None:
    """Answer until stdin ends."""
    source, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us
    _limit_files()
    while line := source.readline():
        request = json.loads(line)
        function = _function(request["function"])
        _limit_memory()
        data = source.read(request["size"])
        if not _answer(function, request, data, answers):
            return


def _limit_files() -> None:
    # A core file would hold a patient's data, and a decoder has nothing to write.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@cache
def _limit_memory() -> None:
    """Once, when the libraries that the first request needs are loaded: they are no stranger's."""
    statm = Path("/proc/self/statm")  # Linux has it; elsewhere 1 GiB is near enough
    pages = int(statm.read_text().split()[0]) if statm.exists() else 2**18
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def _function(said: str) -> Callable[..., Any]:
    """A function of ours by its name, with the libraries that it needs."""
    module, _, name = said.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


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
    main()
