"""Every command takes --json, and then prints JSON on stdout and nothing else."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import openvino  # noqa: F401 - whole, before a search in this process would import its half
import pytest
from click.testing import CliRunner

import commands
from foveola.cli.commands import CLOSED, main
from foveola.datasets.manifest import Manifest
from foveola.encoders.release import DEFAULT, read_release


def leaves(group=main, before=()):
    """Each command as it is typed, with what click knows of it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


LEAVES = dict(leaves())
# They go on until they are stopped, or need a PACS: tests/cli/test_pacs.py and below.
APART = {"pacs answer", "pacs pull", "pacs listen", "serve"}
LINES = {"audit-log show"}  # one object a line, as it may be long


def wanted(data):
    """Arguments for every command but those apart, in an order in which each finds its archive."""
    A, photo, table = data["archive"], data["photo"], data["manifest"]
    case = next(Manifest.read(table).cases())
    made = data["folder"]
    yield "index", A, table
    yield "info", A
    yield "search", A, photo
    yield "search", A, "--left", photo
    yield "learn", A
    yield "evaluate", A, "--bootstrap", 0
    yield "identify", A, "--bootstrap", 0
    yield "risk", A, "--bootstrap", 0
    yield "regions on", A
    yield "regions update", A
    yield "search", A, photo, "--region", "0.5,0.5"
    yield "regions off", A
    yield "accounts add", A, "anna", "--role", "viewer"
    yield "accounts role", A, "anna", "--role", "curator"
    yield "accounts password", A, "anna"
    yield "accounts token", A, "anna"
    yield "accounts list", A
    yield "accounts revoke", A, 1
    yield "accounts remove", A, "anna"
    yield "audit-log head", A
    yield "audit-log verify", A
    yield "audit-log show", A
    yield "study new", A, made / "study", "--queries", 2, "--shown", 2
    yield "study export", made / "study"
    yield "study export", made / "study", "--out", made / "answers.csv"
    yield "matching on", A, "--purpose", "a test"
    yield "matching update", A
    yield "match", A, photo
    yield "audit", A, "--no-labels"
    yield "matching log", A
    yield "matching off", A
    yield "matching calibrate", made / "encoder", table
    yield "backup", A, made / "copy"
    yield "card", DEFAULT
    yield "card", table
    yield ("adapt",)
    yield "duplicates", data["few"], "--encoder", "none"
    yield "encoder add", photo, "--out", made / "added"
    yield "encoder export", made / "ours.onnx"
    yield "phantom", made / "phantoms", "--subjects", 1, "--visits", 1, "--size", 256
    yield "demo", "--out", made / "demo", "--subjects", 4
    yield "read", "--left", photo
    yield "train", table, made / "run"
    yield "compare", table, "--out", made / "runs"
    yield "remove", A, "--image", case.image
    yield "forget", A, case.subject, "--yes"


def instead(patch):
    """Replace what takes long: what is computed has tests of its own."""
    calibration = SimpleNamespace(pairs=(3, 4), photographs=5, save=lambda path: None)
    patch.setattr("foveola.matching.calibrate.calibrate", lambda *_, **__: calibration)
    patch.setattr("foveola.matching.calibrate.learn_sides", lambda *_: calibration)
    patch.setattr("foveola.encoders.encoder.Encoder.load", _loaded(read_release(DEFAULT).folder))
    patch.setattr("foveola.encoders.add.add_onnx", lambda *_: read_release(DEFAULT))
    patch.setattr("foveola.encoders.release.add_parts", lambda *_: None)  # of that empty folder
    patch.setattr("foveola.encoders.onnx_file.export_onnx", lambda *_: 1.0)
    start = SimpleNamespace(start=lambda config, base, out, report: Path(out) / "encoder")
    rows = SimpleNamespace(compare=lambda *_, **__: [], to_markdown=str)
    patch.setitem(sys.modules, "foveola.training.run", start)
    patch.setitem(sys.modules, "foveola.training.compare", rows)
    patch.setattr("foveola.training.config.load_any", lambda path: None)


def _loaded(shipped):
    """The encoder of the folder, or where there is none, as for calibrate, the shipped one."""
    from foveola.encoders.encoder import Encoder

    real = Encoder.load.__func__

    def load(source=DEFAULT, **options):
        empty = Path(source).is_dir() and not (Path(source) / "encoder.json").exists()
        return real(Encoder, shipped if empty else source, **options)

    return load


@pytest.fixture(scope="module")
def answers(phantoms, tmp_path_factory):
    """What each command said, by its name: exit code, stdout, stderr of each time it was run."""
    folder = tmp_path_factory.mktemp("json")
    photo, other = sorted((phantoms.parent / "images").iterdir())[:2]
    (folder / "few").mkdir()
    (folder / "encoder").mkdir()
    for path in (photo, other):
        (folder / "few" / path.name).write_bytes(path.read_bytes())
    data = {
        "folder": folder,
        "archive": folder / "archive",
        "photo": photo,
        "manifest": phantoms,
        "few": folder / "few",
    }
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        instead(patch)
        for name, *arguments in wanted(data):
            typed = [*name.split(), *map(str, arguments), "--json"]
            done = CliRunner().invoke(main, typed, input="a password to keep\n")
            said.setdefault(name, []).append(done)
    return said


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_takes_json(name):
    (option,) = (each for each in LEAVES[name].params if each.name == "as_json")
    assert option.opts == ["--json"]


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - APART))
def test_every_command_answers_in_json(answers, name):
    assert name in answers, "add it to `wanted`"
    for done in answers[name]:
        assert done.exit_code in (0, 1 if name == "learn" else 3, 3), (done.output, done.exception)
        assert not isinstance(done.exception, Exception), done.exception
        texts = done.stdout.splitlines() if name in LINES else [done.stdout]
        assert texts
        for text in texts:
            assert isinstance(json.loads(text), dict | list)


DOCS = (Path(__file__).parents[2] / "docs/reference/json.md").read_text()


@pytest.mark.parametrize("name", LEAVES)
def test_what_every_command_prints_is_documented(name):
    rows = [line.split("|")[1] for line in DOCS.splitlines() if line.startswith("| `")]
    group, _, last = name.partition(" ")
    named = [row for row in rows if f"`{name}`" in row or (last and f"`{group} " in row)]
    assert any(f"`{name}`" in row or f"`{last}`" in row for row in named)


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - APART))
def test_the_documented_fields_are_there(answers, name):
    """Of rows that name them all, which end in no "and more"."""
    for line in DOCS.splitlines():
        row = line.split("|")
        if not line.startswith(f"| `{name}` ") or re.search("more|with|list|line|folder", row[2]):
            continue
        fields = re.findall(r"`(\w+)`", row[2])
        for done in answers[name] if fields else ():
            assert json.loads(done.stdout).keys() == set(fields)


def mistyped(command, nowhere):
    """Arguments that can't be right, and are there."""
    for parameter in command.params:
        if parameter.required or parameter.name in ("name", "out"):
            if isinstance(parameter, click.Option):
                yield parameter.opts[0]
            kind = parameter.type
            yield kind.choices[0] if isinstance(kind, click.Choice) else str(nowhere)


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - APART))
def test_what_fails_is_a_sentence_on_stderr_and_nothing_on_stdout(name, tmp_path):
    (tmp_path / "file").touch()
    nowhere = tmp_path / "file" / "none"
    typed = [*name.split(), *mistyped(LEAVES[name], nowhere), "--json"]
    done = CliRunner().invoke(main, typed, input="a password to keep\n")
    assert done.exit_code in (1, 2), (typed, done.output, done.exception)
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert "Error: " in done.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An empty one."""
    from foveola.archive import Archive

    folder = tmp_path_factory.mktemp("empty") / "archive"
    release = read_release(DEFAULT)
    Archive.create(folder, encoder=DEFAULT, fingerprint=release.fingerprint, dimension=8).close()
    return folder


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["serve", "ARCHIVE", "--port", "0"], {"url"}),
        (["pacs", "listen", "ARCHIVE", "--port", "0"], {"ae", "host", "port"}),
    ],
    ids=["serve", "pacs listen"],
)
def test_what_goes_on_says_in_json_where_it_listens(phantoms, tmp_path, arguments, keys):
    folder = tmp_path / "archive"
    commands.foveola("index", folder, sorted((phantoms.parent / "images").iterdir())[0])
    typed = [str(folder) if each == "ARCHIVE" else each for each in arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "foveola", *typed, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert json.loads(process.stdout.readline()).keys() == keys
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


# Whoever reads the output may stop at any time


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "ARCHIVE"],
        ["info", "ARCHIVE", "--json"],
        ["card", DEFAULT],
        ["adapt"],
        ["--help"],
        ["--version"],
        ["info", "--help"],
    ],
    ids=" ".join,
)
def test_who_stops_reading_is_told_nothing(archive, arguments):
    assert closed("stdout", archive, arguments) == (CLOSED, "")


def test_who_stops_reading_faults_is_told_nothing(archive):
    assert closed("stderr", archive, ["info", "nowhere"]) == (CLOSED, "")


def closed(stream, archive, arguments):
    """Exit code and the other stream of a command whose one stream nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    typed = [str(archive) if each == "ARCHIVE" else each for each in arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "foveola", *typed], **{stream: writing, other: subprocess.PIPE}, text=True
    )
    os.close(writing)
    said = process.communicate(timeout=120)
    return process.returncode, "".join(filter(None, said))
