"""One command trains, judges and tabulates; killed, it goes on."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from foveola.errors import ConfigError
from foveola.phantom import generate
from foveola.training.compare import Row, _rows, compare, to_markdown

CONFIG = """
name = "{name}"
epochs = 1
precision = "32-true"
[data]
manifests = ["phantoms/manifest.csv"]
label = "eye"
held_out = {held_out}
[model]
backbone = "mobilenetv2_050"
dimension = 8
image_size = 64
[batch]
groups = 4
images_per_group = 2
batches_per_epoch = 1
[loss]
name = "{loss}"
proxy_weight = 0.0
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    generate(folder / "phantoms", subjects=12, visits=2, seed=3, size=128, masks=False)
    for name, loss, held_out in (
        ("one", "triplet", 0.5), ("two", "ada_triplet", 0.5), ("other", "triplet", 0.4),
    ):  # fmt: skip
        text = CONFIG.format(name=name, loss=loss, held_out=held_out)
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_configurations_are_trained_judged_and_put_in_one_table(work):
    command = [sys.executable, "-m", "foveola", "compare", "one.toml", "two.toml"]
    command += ["--out", "out", "--seeds", "2", "--json"]
    done = subprocess.run(
        command, cwd=work, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(r["metric"], r["name"]) for r in rows[:2]] == [("mAP@R", "one"), ("mAP@R", "two")]
    assert len(rows) == 6
    assert all(len(r["scores"]) == 2 and 0 <= r["mean"] <= 1 for r in rows)
    table = pd.read_csv(work / "out/comparison.csv")
    assert len(table) == 12
    assert (work / "out/comparison.png").read_bytes().startswith(b"\x89PNG")
    markdown = (work / "out/comparison.md").read_text()
    assert "| mAP@R | two | 2 |" in markdown
    # Run again: what is scored is not trained again, even if its encoder is gone.
    (work / "out/one/seed-0/encoder/model.xml").unlink()
    again = subprocess.run(
        command, cwd=work, capture_output=True, text=True, timeout=400, check=False
    )
    assert json.loads(again.stdout) == rows


def test_figures_by_hand():
    scores = {("a", "m"): [0.1, 0.3], ("b", "m"): [0.4, 0.4]}
    a, b = _rows(scores, ["a", "b"])
    assert (a.mean, a.difference) == (pytest.approx(0.2), 0)
    assert a.error == pytest.approx(0.1)  # deviation .1414 over the root of 2
    assert b.difference == pytest.approx(0.2)  # .3 and .1
    assert b.difference_error == pytest.approx(0.1)
    assert "| m | b | 2 | 0.4000 | 0.0000 | +0.2000 ± 0.1000 |" in to_markdown([a, b])


def test_one_seed_has_no_standard_error():
    (row,) = _rows({("a", "m"): [0.5]}, ["a"])
    assert "| 0.5000 | not known |" in to_markdown([row])
    assert isinstance(row, Row)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("one", "one"), "two configurations are named alike: one, one"),
        (("one", "other"), "other has other manifests, label or held-out subjects than one"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(work, names, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compare([work / f"{name}.toml" for name in names], work / "refused", report=print)
    assert not (work / "refused").exists()
