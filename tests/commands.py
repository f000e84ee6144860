"""The command as a user runs it: in a process of its own."""

import subprocess
import sys


def foveola(*arguments: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run `foveola` with these arguments; it must end with the code, and never by a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "foveola", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done
