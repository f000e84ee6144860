import json
import subprocess
import sys
from dataclasses import replace

import pytest

from foveola.encoders.card import render_card
from foveola.encoders.reading_model import is_reader, read_reader
from foveola.encoders.release import DEFAULT, RELEASED, read_release

ROW = {
    "collection": "clinic",
    "queries": 40,
    "macro_map10": 0.4,
    "interval": [0.3, 0.5],
    "chance": 0.1,
    "baseline": 0.2,
    "per_grade": {"0": 0.7, "4": 0.25},
    "chance_per_grade": {"0": 0.4, "4": 0.05},
    "unseen": {"macro_map10": 0.33, "interval": [0.2, 0.4], "chance": 0.11, "baseline": 0.22},
}
DATA = {
    "collection": "clinic",
    "part": "held",
    "images": 40,
    "subjects": 20,
    "grades": {"0": 30, "4": 6, "unknown": 4},
    "mark": "0123456789abcdef",
}


@pytest.fixture(scope="module")
def release():
    return read_release(DEFAULT)


def test_the_card_holds_what_was_measured(release):
    evaluation = {
        "protocol": "People ask.",
        "rows": [ROW],
        "command": "python x.py",
        "subgroups": [ROW | {"column": "sex", "value": "Female", "interval": None}],
    }
    card = render_card(replace(release, card={**release.card, "data": [DATA], "evaluation": evaluation}))
    assert "| clinic | 40 | 0.400 (0.300-0.500) | 0.100 | 0.200 | not measured |" in card
    assert "| clinic | 40 | 0.330 (0.200-0.400) | 0.110 | 0.220 | not measured |" in card
    assert "| clinic | 0.70 (0.40) | 0.25 (0.05) |" in card
    assert "| clinic | sex Female | 40 | 0.400 | 0.100 |" in card
    assert "| clinic | held | 40 | 20 | 30 / 0 / 0 / 0 / 6 / 4 | `0123456789abcdef` |" in card
    assert f"`{release.contract.hash}`" in card
    assert f"`{release.fingerprint}`" in card
    for part in ("Intended use", "must not be used for", "Limits", "Terms", "no medical device"):
        assert part in card


def test_the_card_names_the_labels_in_the_descriptor(release):
    labels = {"names": ["grade 0", "grade 1"], "share": 0.75}
    card = render_card(replace(release, card={**release.card, "labels": labels}))
    assert "The last 2 numbers" in card
    assert "grade 0, grade 1, in that order; 0.75 of the cosine" in card
    assert "Labels in the" not in render_card(replace(release, card={**release.card, "labels": None}))


def test_a_matching_encoders_card_warns_of_what_it_tells(release):
    table = {"caption": "Same eye.", "rows": [["by", "EER, %"], ["both", 0.4]]}
    card = render_card(
        replace(release, card={**release.card, "task": "matching", "evaluation": None, "tables": [table]})
    )
    assert "Same eye.\n\n| by | EER, % |\n| --- | --- |\n| both | 0.4 |" in card
    assert "biometric data" in card
    assert "Similar cases, a diagnosis or a grade" in card
    assert "wrong identities, swapped eyes" in card


def test_a_card_without_figures_claims_none(release):
    card = render_card(replace(release, card={**release.card, "evaluation": None, "tables": None}))
    assert "How good it is" not in card


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "foveola", "card", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(p.name for p in RELEASED.iterdir() if p.is_dir()))
def test_a_shipped_card_is_the_one_that_is_made(name):
    release = read_reader(name) if is_reader(name) else read_release(name)
    done = run(name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (release.folder / "CARD.md").read_text(encoding="utf-8")
    assert json.loads(run(name, "--json").stdout)["fingerprint"] == release.fingerprint


def test_the_card_of_a_manifest(tmp_path):
    (tmp_path / "labels.csv").write_text("image,subject,grade\na.jpg,mary,0\nb.jpg,mary,1\n")
    done = run("labels.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 photographs of 1 subjects" in done.stdout
    assert "mary" not in done.stdout + done.stderr


def test_neither_encoder_nor_manifest(tmp_path):
    done = run("nothing", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing is no encoder" in done.stderr
    assert "Traceback" not in done.stderr
