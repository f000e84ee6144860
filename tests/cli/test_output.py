"""What commands take as text, how they begin, and what they show beside their answer."""

import io
import signal
import subprocess
import sys

import click
import pytest

from cli.test_json import LEAVES
from foveola.cli.output import progress
from foveola.plain import PlainStream


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("total", "count", "shown"),
    [(4, 4, "4/4"), (None, 3, "3/?"), (0, 0, None)],
    ids=["as many as are known", "nobody knows how many", "nothing to do"],
)
def test_a_bar_never_says_nought_of_nought(monkeypatch, total, count, shown):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()  # not in a fixture: pytest sets stderr
    monkeypatch.setattr("sys.__stderr__", terminal)
    monkeypatch.setattr("sys.stderr", PlainStream(terminal))  # as commands do
    with progress("encoding queries", total) as advance:
        advance(count)
    said = terminal.getvalue()
    assert shown is None or shown in said
    assert "/0" not in said
    assert bool(said) == (shown is not None)


# What was typed must be text: every text that any command takes


def texts_of(command):
    """Its parameters that take any text."""
    return [each for each in command.params if each.type is click.STRING]


BY_TEXT = [(name, each) for name, command in LEAVES.items() for each in texts_of(command)]


def test_there_are_texts_to_be_typed():
    assert {("search", "subject"), ("forget", "subject"), ("accounts add", "name")} <= {
        (name, each.name) for name, each in BY_TEXT
    }


@pytest.mark.parametrize(("name", "parameter"), BY_TEXT, ids=[f"{name} {each.name}" for name, each in BY_TEXT])
def test_a_text_that_is_not_utf_8_is_refused(name, parameter):
    """Every command, called with what click would make of such bytes."""
    command = LEAVES[name]
    wrong = ("\udcff",) if parameter.multiple or parameter.nargs != 1 else "\udcff"
    values = dict.fromkeys(each.name for each in command.params) | {parameter.name: wrong}
    with click.Context(command, info_name=name) as context, pytest.raises(click.BadParameter) as no:
        context.invoke(command.callback, **values)
    assert no.value.format_message().endswith("expected a text in UTF-8")
    assert (no.value.param, no.value.exit_code) == (parameter, 2)


def test_such_a_text_as_it_is_typed(tmp_path):
    command = [sys.executable, "-m", "foveola", "forget", tmp_path, b"\xffx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("Invalid value for 'SUBJECT': expected a text in UTF-8\n")


# Where a command prints, and Ctrl-C before it is there

INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs beside it ignores it
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
