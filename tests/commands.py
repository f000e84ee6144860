"""The command as a user runs it: in a process of its own."""

import subprocess
import sys
from pathlib import Path


def foveola(*arguments: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run `foveola` with these arguments; it must end with the code, and never by a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "foveola", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        umask=0o022,  # as most systems have it
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def is_private(*places: Path) -> bool:
    """Whether these, and all in them, are their owner's alone."""
    return not any(path.stat().st_mode & 0o077 for place in places for path in (place, *place.rglob("*")))
