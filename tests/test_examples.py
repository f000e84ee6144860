"""The examples that the manual points at, run as its reader would."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NUMBER = r"(-?\d+\.\d+)"


def ran(example, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / example, *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def printed(example):
    done = ran(example)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_attention_in_a_timm_model_learns_what_only_one_side_has():
    out = printed("attention_in_timm.py")
    losses = [float(x) for x in re.findall(rf"^step \d+: loss {NUMBER}$", out, re.MULTILINE)]
    assert losses[-1] < 0.5 * losses[0]
    assert float(re.search(rf"^right: {NUMBER}$", out, re.MULTILINE)[1]) > 0.9


def test_the_loop_learns_to_tell_people_apart():
    out = printed("losses_in_a_loop.py")
    line = rf"^epoch \d: loss {NUMBER}, margin {NUMBER}, beta {NUMBER}$"
    epochs = [[float(x) for x in found] for found in re.findall(line, out, re.MULTILINE)]
    losses, margins, betas = zip(*epochs, strict=True)
    assert len(epochs) == 8
    assert losses[-1] < 0.5 * losses[0]  # under a wider margin
    assert (margins[0], betas[0]) == (0.25, 0.0)
    assert margins[1] < margins[-1] < 0.75  # half of what lies between alike and unlike
    assert all(0.4 < beta < 0.6 for beta in betas[1:])  # strangers come to lie at right angles
    (before,), (after,) = (
        re.findall(rf"^precision at 1 {when}: {NUMBER}$", out, re.MULTILINE) for when in ("before", "after")
    )
    assert float(before) < 0.3
    assert float(after) > 0.9


ALL = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("example", ALL)
def test_an_example_says_what_it_shows(example):
    done = ran(example, "--help")
    first = ast.get_docstring(ast.parse((EXAMPLES / example).read_text())).splitlines()[0]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
    assert first in done.stdout


@pytest.mark.parametrize("example", ALL)
def test_an_example_refuses_arguments_by_a_sentence(example):
    done = ran(example, "a", "b", "c", "--nonsense")
    assert done.returncode == 2
    assert f"{example}: error: " in done.stderr
    assert "Traceback" not in done.stderr
