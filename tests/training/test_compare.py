"""One command trains, judges and tabulates; killed, it goes on."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from foveola.encoders.reading_model import read_reader
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
    for name, loss, held_out in (("one", "triplet", 0.5), ("two", "ada_triplet", 0.5), ("other", "triplet", 0.4)):
        text = CONFIG.format(name=name, loss=loss, held_out=held_out)
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_configurations_are_trained_judged_and_put_in_one_table(work):
    command = [sys.executable, "-m", "foveola", "compare", "one.toml", "two.toml"]
    command += ["--out", "out", "--seeds", "2", "--json"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=400, check=False)
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
    again = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=400, check=False)
    assert json.loads(again.stdout) == rows


READER = """
task = "reading"
name = "{name}"
epochs = 1
batch = 4
precision = "32-true"
average_decay = 0.0
[data]
manifests = ["phantoms/manifest.csv"]
labels = ["N", "D", "A"]
held_out = 0.4
validation = 0.3
augment = "none"
[model]
backbone = "mobilenetv2_035"
image_size = 64
width = 16
feature = 8
fusion = "{fusion}"
"""


def test_readers_are_compared_and_released(work):
    for name in ("concat", "sum"):
        (work / f"{name}.toml").write_text(READER.format(name=name, fusion=name))
    command = [sys.executable, "-m", "foveola", "compare", "concat.toml", "sum.toml"]
    command += ["--out", "readers", "--seeds", "1", "--json"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {r["metric"] for r in rows} >= {"final", "kappa", "macro-AUC", "macro-F1", "ECE"}
    final = {r["name"]: r["mean"] for r in rows if r["metric"] == "final"}
    reader = work / "readers/sum/seed-0/reader"
    found = read_reader(reader).card["evaluation"]["official"]
    assert final["sum"] == pytest.approx(found["overall"]["final"]["value"])
    assert found["rows"] == 10  # 5 of 12 people, two visits each
    assert (reader.parent / "reliability.png").read_bytes().startswith(b"\x89PNG")
    card = subprocess.run(
        [sys.executable, "-m", "foveola", "card", str(reader)], capture_output=True, text=True, timeout=100, check=False
    )
    assert "On 10 people it was not trained on" in card.stdout


def test_a_reader_is_not_compared_with_an_encoder(work):
    (work / "r.toml").write_text(READER.format(name="r", fusion="sum"))
    with pytest.raises(ConfigError, match="would say nothing"):
        compare([work / "one.toml", work / "r.toml"], work / "x", seeds=1)


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
