"""How a command begins: where it prints, and Ctrl-C before it is there."""

import signal
import subprocess
import sys

import pytest

INTERRUPTED = """
import os, signal, sys
class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == "foveola.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Pressed())
import foveola.__main__
"""


def typed(arguments, closed=()):
    """Run with streams closed, as `>&-` does; code and what is left of stdout and stderr."""
    shut = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$@" {shut}', "sh", sys.executable, "-m", "foveola", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("arguments", [["info", "nowhere"], ["--help"], ["card"], ["info", "-h"]])
def test_a_command_without_stdout_does_nothing_and_says_so(arguments):
    said = "Error: stdout is closed; give it a place, /dev/null say\n"
    assert typed(arguments, [1]) == (1, "", said)
    assert typed(arguments, [0, 1, 2]) == (1, "", "")


def test_a_command_without_stderr_answers_and_has_its_code(tmp_path):
    assert typed(["info", str(tmp_path / "nowhere")], [2]) == (1, "", "")
    code, said, _ = typed(["--version"], [0, 2])
    assert (code, said.count("version")) == (0, 1)


def test_ctrl_c_while_it_is_imported_ends_it_without_a_word():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["adapt"], ["card", "-h"]])
def test_a_stdout_without_room_is_told_by_its_name(arguments):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - it is no file
        done = subprocess.run(
            [sys.executable, "-m", "foveola", *arguments], check=False, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "Error: stdout: No space left on device\n")
