"""foveola encoder as typed: bring one in, index, search; give ours away and take it back."""

import json
import sys

import pytest

import made_networks as made
from commands import foveola, is_private


def images(done):
    return [hit["case"]["image"] for hit in json.loads(done.stdout)["hits"]]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def brought_in(work, phantoms):
    """An archive that a network from elsewhere serves."""
    path = made.network(work / "model.onnx", made.MAP)
    said = foveola("encoder", "add", path, "--size", 128, "--name", "mine", "--out", work / "mine")
    assert said.stdout.startswith(f"{work / 'mine'}: mine, 16 numbers of 128 x 128 pixels")
    foveola("index", work / "archive", phantoms, "--encoder", work / "mine")
    return work / "archive"


def photograph(phantoms):
    return sorted(phantoms.parent.rglob("*.jpg"))[0]


def test_an_archive_is_indexed_and_searched_with_it(brought_in, phantoms):
    asked = json.loads(foveola("search", brought_in, photograph(phantoms), "--json").stdout)
    assert len(asked["hits"]) == 10
    similarities = [hit["similarity"] for hit in asked["hits"]]
    assert similarities == sorted(similarities, reverse=True)
    assert "mine" in foveola("info", brought_in).stdout
    card = foveola("card", brought_in / "encoder").stdout
    assert "nothing is known of what it was trained on" in card
    foveola("evaluate", brought_in, "--json")


def test_places_are_refused_in_a_sentence(brought_in):
    told = foveola("regions", "on", brought_in, code=1).stderr
    assert "regions need one with residual blocks on two scales" in told


def test_ours_comes_back_and_finds_the_same(work, phantoms):
    foveola("encoder", "export", work / "ours.onnx")
    assert is_private(work / "ours.onnx")
    back = foveola("encoder", "add", work / "ours.onnx", "--out", work / "back", "--json")
    assert json.loads(back.stdout)["dimension"] == 256
    foveola("index", work / "one", phantoms)
    foveola("index", work / "two", phantoms, "--encoder", work / "back")
    query = photograph(phantoms)
    found = [foveola("search", work / name, query, "--json") for name in ("one", "two")]
    assert images(found[0]) == images(found[1])
    assert len(images(found[0])) == 10


BAD = {
    "not ONNX": (["text"], 1, "is no ONNX file"),
    "no file": (["gone"], 1, "can't be read"),
    "grey": (["grey", "--size", 64], 1, "expected 3 channels"),
    "no size": (["good"], 1, "say which with --size"),
    "a size out of range": (["good", "--size", 16], 1, "expected 32 to 4096"),
    "one number": (["one", "--size", 64], 1, "expected 2 to 8192"),
    "two colours": (["good", "--size", 64, "--mean", "0.5,0.5"], 2, "expected three numbers"),
    "words": (["good", "--size", 64, "--std", "a,b,c"], 2, "expected three numbers"),
    "no deviation": (["good", "--size", 64, "--std", "0,0,0"], 1, "std above 0"),
    "no such output": (["good", "--size", 64, "--output", "x"], 1, "no output 'x'; choose one"),
    "a folder that is there": (["good", "--size", 64, "--out", "."], 1, "exists already"),
    "no model of timm": (["good", "--timm", "hf_hub:x/y"], 1, "has no model 'hf_hub:x/y'"),
    "a pickle for timm": (["text", "--timm", "resnet18"], 1, "holds no weights of timm's resnet18"),
}


@pytest.mark.parametrize(("given", "code", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_sentence_and_leaves_nothing(tmp_path, given, code, sentence):
    (tmp_path / "text").write_bytes(b"\x80\x04 no network")
    made.network(tmp_path / "good")
    made.network(tmp_path / "grey", shape=("b", 1, "h", "w"))
    made.network(tmp_path / "one", made.ONE)
    before = sorted(tmp_path.iterdir())
    name, *options = given
    options = [tmp_path if each == "." else each for each in options]
    out = [] if "--out" in given else ["--out", tmp_path / "e"]
    told = foveola("encoder", "add", tmp_path / name, *options, *out, code=code).stderr
    assert sentence in " ".join(told.split())
    if code == 1:
        assert len(told.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_export_refuses_a_file_that_is_there_and_two_encoders(tmp_path):
    (tmp_path / "x.onnx").write_text("mine")
    assert "exists already" in foveola("encoder", "export", tmp_path / "x.onnx", code=1).stderr
    foveola("encoder", "export", "a", "b", tmp_path / "y.onnx", code=2)
    told = foveola("encoder", "export", "nonsense", tmp_path / "y.onnx", code=1).stderr
    assert "nonsense is no encoder" in told


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [("onnx", "onnx", ["export"]), ("timm", "train", ["add", "w.safetensors", "--timm", "resnet18", "--out"])],
)
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, missing, extra, arguments):
    from click.testing import CliRunner

    from foveola.cli.commands import main

    for name in [name for name in sys.modules if name == "foveola.training.timm_encoder"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    done = CliRunner().invoke(main, ["encoder", *arguments, str(tmp_path / "x")])
    assert done.exit_code == 1
    assert f"needs {missing}. Run: pip install 'foveola[{extra}]'" in done.output
