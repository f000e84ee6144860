"""A name can't steer a terminal, and a cell can't calculate."""

import csv
import io
import subprocess
import sys

import pytest
from click.testing import CliRunner

from foveola.cli.commands import main
from foveola.plain import PlainStream, cell, plain, plain_lines, to_csv

STEERING = {
    "escape": "\x1b[2J",
    "line": "\n",
    "return": "\r",
    "bell": "\a",
    "delete": "\x7f",
    "C1": "\x9b31m",
    "title": "\x1b]0;x\a",
    "right to left": "\u202e",
    "isolate": "\u2066",
    "line separator": "\u2028",
    "half pair": "\udc80",
    "zero width": "\u200b",
    "NUL": "\0",
    "conceal": "\x1b[8m",
    "tag": "\U000e0041",
    "backspace": "\b",
}


@pytest.mark.parametrize("sign", STEERING.values(), ids=STEERING)
def test_a_name_is_read_and_nothing_else(sign):
    said = plain(f"a{sign}b.jpg")
    assert said.isprintable()
    assert said.startswith("a\\")
    assert said.endswith("b.jpg")
    lines = plain_lines(f"a{sign}b")
    assert all(letter.isprintable() or letter in "\n\t" for letter in lines)


def test_what_is_no_sign_of_that_kind_stays():
    for text in ("é\u0301 ü ß", "眼底", "a b", "no\xa0break", "😀", "=1"):
        assert plain(text) == text
    assert plain_lines("a\n\tb\x1b[1mc\x1b[0m") == "a\n\tb\x1b[1mc\x1b[0m"  # ours


def test_a_stream_writes_plain_lines():
    out = io.StringIO()
    stream = PlainStream(out)
    assert stream.write("a\x1b[2Jb\n") == 7
    assert out.getvalue() == "a\\u001b[2Jb\n"
    assert stream.isatty() is False


@pytest.fixture(scope="module")
def hostile(phantoms, tmp_path_factory):
    """A folder with a photograph whose name clears the screen, and one that is none."""
    folder = tmp_path_factory.mktemp("hostile")
    data = next((phantoms.parent / "images").iterdir()).read_bytes()
    (folder / CLEARS).write_bytes(data)
    (folder / LINE).write_bytes(b"no picture")
    return folder


CLEARS, LINE = "a\x1b[2J\x1b]0;owned\a.png", "b\n0 photographs could not be used\x9b.png"


@pytest.mark.parametrize(
    "command",
    [
        ["index", "{A}", "{F}"],
        ["index", "{A}", "{F}/\x1b[2J"],
        ["search", "{A}", "{F}/" + CLEARS],
        ["search", "{A}", "{F}/" + LINE],
        ["search", "{A}", "{F}/c\x1b[2J.png"],
        ["info", "{F}/a\x1b[2J"],
        ["info", "{A}"],
        ["duplicates", "{A}"],
    ],
)
def test_no_command_hands_a_name_to_the_terminal_raw(hostile, tmp_path_factory, command):
    archive = hostile.parent / "archive-of-hostile"
    if command[0] != "index" and not archive.exists():
        CliRunner().invoke(main, ["index", str(archive), str(hostile)])
    arguments = [part.format(A=archive, F=hostile) for part in command]
    said = CliRunner().invoke(main, arguments)
    for stream in (said.stdout, said.stderr):
        assert all(letter.isprintable() or letter in "\n\t" for letter in stream), repr(stream)
    assert "\n0 photographs could not be used" not in said.output


def test_what_a_command_writes_is_its_owners_alone(phantoms, tmp_path):
    program = [sys.executable, "-m", "foveola"]
    archive = tmp_path / "A"
    photograph = next((phantoms.parent / "images").iterdir())
    for arguments in (
        ["index", archive, photograph],
        ["phantom", tmp_path / "P", "--subjects", "1", "--visits", "1", "--size", "128"],
        ["search", archive, photograph, "--html", tmp_path / "found.html"],
        ["backup", archive, tmp_path / "B"],
    ):
        done = subprocess.run(  # under the umask that most systems have
            [*program, *map(str, arguments)], umask=0o022, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    made = [archive, tmp_path / "P", tmp_path / "found.html", tmp_path / "B"]
    every = [path for top in made for path in (top, *top.rglob("*"))]
    assert len(every) > 20
    shipped = {"encoder"}  # a copy of what everybody has, with its modes
    readable = [path for path in every if path.stat().st_mode & 0o077]
    assert [path for path in readable if not shipped & set(path.parts)] == []


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "\xa0=1",
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(A1)",
    "﹦1",
    "﹢1",
    "﹣1",
    "﹫x",
    "−1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_is_no_formula(text):
    safe = f"'{text}".replace("\r", "\n")
    assert cell(text) == safe
    ((_, read),) = list(csv.reader(io.StringIO(to_csv(("a", "b"), [(1, text)]), newline="")))[1:]
    assert read == safe


@pytest.mark.parametrize("value", [-1, -0.5, 3, "a=1", "normal", "1-2", True])
def test_what_is_no_formula_stays(value):
    assert cell(value) is value


def test_what_is_unknown_is_an_empty_cell():
    assert to_csv(("a", "b", "c"), [(None, float("nan"), "")]) == "a,b,c\n,,\n"


def test_no_other_module_writes_tables_for_people():
    from pathlib import Path

    import foveola

    source = Path(foveola.__file__).parent
    writers = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("csv.writer", "DictWriter", ".to_csv("))
    }
    # the other three write and call manifests, which are read back: every sign of them counts
    assert writers == {"plain.py", "server/study.py", "datasets/tables.py", "phantom/__init__.py"}
