"""The example that the manual points at, run as its reader would."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "losses_in_a_loop.py"


def test_the_loop_learns_to_tell_people_apart():
    done = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    number = r"(-?\d+\.\d+)"
    line = rf"^epoch \d: loss {number}, margin {number}, beta {number}$"
    epochs = [[float(x) for x in found] for found in re.findall(line, done.stdout, re.MULTILINE)]
    losses, margins, betas = zip(*epochs, strict=True)
    assert len(epochs) == 8
    assert losses[-1] < 0.5 * losses[0]  # under a wider margin
    assert (margins[0], betas[0]) == (0.25, 0.0)
    assert margins[1] < margins[-1] < 0.75  # half of what lies between alike and unlike
    assert all(0.4 < beta < 0.6 for beta in betas[1:])  # strangers come to lie at right angles
    (before,), (after,) = (
        re.findall(rf"^precision at 1 {when}: {number}$", done.stdout, re.MULTILINE)
        for when in ("before", "after")
    )
    assert float(before) < 0.3
    assert float(after) > 0.9
