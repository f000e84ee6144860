"""What was typed must be text: every text that any command takes."""

import subprocess
import sys

import click
import pytest

from cli.test_json import LEAVES


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
