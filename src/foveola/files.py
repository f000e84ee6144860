"""Files that are there whole or not at all, also after a power cut, and whose damage is told.

What answers depend on holds its own checksum (BLAKE2b, 16 bytes), so that one rename puts both in
their place:

    .npy, .npz    a last line, "foveola checksum <hex>"; numpy does not read so far
    TOML          the same as a comment in the first line, as a file that was cut off is still TOML
    JSON          the key "checksum", of the other values
    JSON lines    likewise in each line; .FILE.end tells how long the file was, as whole lines may
                  be cut off; in a copy it comes first, so that it never says too much

What an older Foveola wrote has none, and is read as it is; the next write adds it.
"""

import contextlib
import errno
import io
import json
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from foveola.resources import beside, remove_leftovers, sync_folder

# what numpy and zipfile raise on damaged files; an older Foveola wrote no checksum
_SPOILT = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    BadZipFile,
    zlib.error,
    struct.error,
)
_WORDS = b"foveola checksum "
_KEY = "checksum"
_MARK = f'"{_KEY}": '.encode()
_END = ".end"  # of the file that tells how long another was
_LENGTH = len(_WORDS) + 32  # of a line, without its line feed
# numpy reads a header by ast, which CPython 3.11 can not do in two threads at once (gh-106905)
_PARSING = threading.Lock()


class DamagedError(ValueError):
    """A file is not what was written."""


class Lines(NamedTuple):
    """What a file of JSON lines holds.

    Attributes:
        values: of each line that can be read, with its number, from 1.
        damaged: numbers of the others: a crash cut them short, or they were changed.
        cut: whether lines are missing at the end.
    """

    values: tuple[tuple[int, dict[str, Any]], ...]
    damaged: tuple[int, ...]
    cut: bool

    @property
    def sound(self) -> bool:
        """Return whether all that was written is there."""
        return not self.damaged and not self.cut


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in the place of another in one step; on return it is on the disk.

    Takes away what processes left of the file that were killed.

    Raises:
        OSError: it can't be written; the old file is as it was.
    """
    remove_leftovers(path, "*")  # an older Foveola named them by the process alone
    with beside(path) as partial:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    sync_folder(path.parent)


def checksum(data: bytes) -> str:
    """Return 32 hexadecimal digits of bytes, by BLAKE2b.

    >>> checksum(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    return blake2b(data, digest_size=16).hexdigest()


def stamp_of(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of change in ns since 1970, by which a file is known again.

    A time beyond 64 bits, before 1677 or after 2262, is the last that these hold.

    Raises:
        OSError: there is no such file, or it can have no such name.
    """
    try:
        found = path.stat()
    except ValueError:
        raise OSError(errno.EINVAL, "no file can have this name") from None
    return found.st_size, min(max(found.st_mtime_ns, -(2**63)), 2**63 - 1)


# TOML


def write_toml(path: Path, text: str) -> None:
    """Write with a checksum in the first line; as `write_whole`."""
    data = text.encode()
    write_whole(path, b"# " + _WORDS + checksum(data).encode() + b"\n" + data)


def check_toml(path: Path) -> None:
    """Check what `write_toml` wrote.

    Raises:
        DamagedError: it is something else.
        OSError: it can't be read.
    """
    line, _, data = path.read_bytes().partition(b"\n")
    if line.startswith(b"# " + _WORDS) and line != b"# " + _WORDS + checksum(data).encode():
        raise DamagedError(f"{path.name} is not what was written")


# Arrays


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write as .npy with a checksum; as `write_whole`."""
    held = io.BytesIO()
    np.save(held, array)
    _write(path, held.getvalue())


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write as compressed .npz with a checksum; as `write_whole`."""
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)  # type: ignore[arg-type]
    _write(path, held.getvalue())


def load_array(path: Path) -> NDArray[Any]:
    """Read what `save_array` wrote.

    Raises:
        DamagedError: it is something else.
        OSError: it can't be read.
    """
    made = _loaded(_read(path), path.name)
    if not isinstance(made, np.ndarray):
        raise DamagedError(f"{path.name} is not what was written")
    return made


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote; errors as from `load_array`."""
    return unpack_arrays(_read(path), path.name)


def unpack_arrays(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    """Read the bytes of a .npz file.

    Raises:
        DamagedError: they are something else; the error speaks of `name`.
    """
    made = _loaded(data, name)
    if not isinstance(made, dict):
        raise DamagedError(f"{name} is not what was written")
    return made


def _write(path: Path, data: bytes) -> None:
    write_whole(path, data + b"\n" + _WORDS + checksum(data).encode() + b"\n")


def _read(path: Path) -> bytes:
    """What was written, without its checksum; an older file has none."""
    data = path.read_bytes()
    kept, line = data[: -_LENGTH - 2], data[-_LENGTH - 2 :]
    if not line.startswith(b"\n" + _WORDS):
        return data
    if line != b"\n" + _WORDS + checksum(kept).encode() + b"\n":
        raise DamagedError(f"{path.name} is not what was written")
    return kept


def _loaded(data: bytes, name: str) -> NDArray[Any] | dict[str, NDArray[Any]]:
    try:
        with _PARSING:
            made = np.load(io.BytesIO(data), allow_pickle=False)
            return made if isinstance(made, np.ndarray) else {key: made[key] for key in made.files}
    except _SPOILT as error:
        raise DamagedError(f"{name} is not what was written") from error


# JSON


def write_json(path: Path, values: Mapping[str, Any], indent: int | None = None) -> None:
    """Write values that have no key "checksum", with one; as `write_whole`."""
    write_whole(path, _marked(values, indent).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote, without its checksum.

    Raises:
        DamagedError: it is something else.
        ValueError: it is no JSON.
        OSError: it can't be read.
    """
    return _unmarked(path.read_bytes(), path.name)


def _marked(values: Mapping[str, Any], indent: int | None = None) -> str:
    plain = json.loads(json.dumps(values))  # tuples are lists, and keys text
    return json.dumps(plain | {_KEY: _digest(plain)}, indent=indent, ensure_ascii=indent is None)


def _unmarked(data: bytes, name: str, *, needed: bool = False) -> dict[str, Any]:
    """The values without their checksum, which an older file lacks unless it is needed."""
    values = json.loads(data)
    if not isinstance(values, dict) or (needed and _KEY not in values):
        raise DamagedError(f"{name} is not what was written")
    if _KEY in values and values.pop(_KEY) != _digest(values):
        raise DamagedError(f"{name} is not what was written")
    return values


def _digest(values: Mapping[str, Any]) -> str:
    return checksum(json.dumps(values, sort_keys=True).encode())


# JSON lines


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add a line to a file of JSON lines, behind what a crash left; on return it is on the disk.

    Raises:
        OSError: it can't be written; nothing of it is.
    """
    with _locked(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        begun = file.read(1) not in (b"", b"\n")
        try:
            left = memoryview(b"\n" * begun + line_of(values))
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise
        _write_end(path)


def line_of(values: Mapping[str, Any]) -> bytes:
    """Write values as a line, with its checksum in place of another."""
    return _marked({key: value for key, value in values.items() if key != _KEY}).encode() + b"\n"


def rewrite_lines(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Put other lines in the place of all; as `write_whole`.

    Args:
        path: of a file that is there.
        change: from the lines, with their line feeds, to those that they become; if they stay as
            they are nothing is written.
    """
    with _locked(path) as file:
        file.seek(0)
        before = file.read().splitlines(keepends=True)
        after = change(before)
        if after == before:
            return
        with contextlib.suppress(FileNotFoundError):  # until the end nothing is said of it
            _end_file(path).unlink()
        write_whole(path, b"".join(after))
        _write_end(path)


def read_lines(path: Path) -> Lines:
    """Read a file of JSON lines, empty where there is none.

    A line without a checksum behind one that has it is damaged.

    Raises:
        OSError: it can't be read.
    """
    try:
        least, older = _end_of(path) or (0, None)
    except (ValueError, KeyError, TypeError):
        return Lines(*_parsed(path, None)[:2], cut=True)
    found, damaged, size = _parsed(path, older)  # after its end was read: it only grows
    return Lines(found, damaged, size < least)


def _parsed(path: Path, older: int | None) -> tuple[tuple[tuple[int, dict[str, Any]], ...], tuple[int, ...], int]:
    """Lines that can be read, numbers of the others, and the length of all."""
    data = path.read_bytes() if path.exists() else b""
    lines = [(i, line) for i, line in enumerate(data.split(b"\n"), start=1) if line]
    older = _unmarked_first(data) if older is None else older
    found, damaged = [], []
    for place, (number, line) in enumerate(lines):
        try:
            found.append((number, _unmarked(line, path.name, needed=place >= older)))
        except ValueError:
            damaged.append(number)
    return tuple(found), tuple(damaged), len(data)


def _unmarked_first(data: bytes) -> int:
    """How many lines come before the first with a checksum; an older Foveola wrote them."""
    lines = [line for line in data.split(b"\n") if line]
    return next((i for i, line in enumerate(lines) if _MARK in line), len(lines))


def _end_of(path: Path) -> tuple[int, int] | None:
    """The length of a file, and how many of its lines have no checksum; None if nothing is said."""
    try:
        said = read_json(_end_file(path))
    except FileNotFoundError:
        return None
    return int(said["size"]), int(said["older"])


def _end_file(path: Path) -> Path:
    return path.with_name(f".{path.name}{_END}")


def _write_end(path: Path) -> None:
    try:
        _, older = _end_of(path) or (0, _unmarked_first(path.read_bytes()))
    except (ValueError, KeyError, TypeError):
        older = _unmarked_first(path.read_bytes())
    values = {"size": path.stat().st_size, "older": older}
    write_json(_end_file(path), values)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[io.FileIO]:
    """The file opened to read and append, by one process at a time; made where it is not there."""
    import fcntl  # POSIX only, as the locks of regions are

    while True:
        with path.open("a+b", buffering=0) as file:  # a buffer would be written after a fault, too
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                    yield file
                    return
        # another process has put another file in its place meanwhile
