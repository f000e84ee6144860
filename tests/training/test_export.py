"""What is released says what was trained, and damage to it is found."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from foveola.encoders.reading_model import ReadingModel, read_reader, write_reader
from foveola.errors import EncoderError
from foveola.models.binocular import FUSIONS
from foveola.training.export import ReleasedReader, check_reader_parity, export_reader
from foveola.training.reading import alone_thresholds
from made_readers import LABELS, SIZE, config_of, run_of

pytestmark = pytest.mark.filterwarnings("ignore")  # OpenVINO's tracing


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    config = config_of()
    run = run_of(config)
    return run, export_reader(run, tmp_path_factory.mktemp("released") / "reader", config)


def photographs(seed):
    return np.random.default_rng(seed).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)


def test_the_released_reader_says_what_the_model_says(released):
    run, folder = released
    reader, (left, right) = ReadingModel.load(folder), photographs(1)
    mean, std = (torch.tensor(v) for v in (reader.release.contract.mean, reader.release.contract.std))
    x = (torch.from_numpy(np.stack([left, right])).float() / 255 - mean) / std
    there = torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        read = run.model.eval()(x.permute(0, 3, 1, 2)[None], there)
        person, eyes, evidence = run.answer.answer(read, run.model.eye.weight, there)
    said = reader.read(left, right)
    assert np.abs(said.probabilities - person[0].numpy()).max() < 0.002
    assert np.abs(said.eyes - eyes[0].numpy()).max() < 0.002
    assert np.abs(said.evidence - evidence[0].numpy()).max() < 0.02 * float(evidence.abs().max())
    assert said.feature.shape == (8,)


def test_one_eye_is_read_and_the_other_left_out(released):
    reader, (left, right) = ReadingModel.load(released[1]), photographs(2)
    alone = reader.read(left, None)
    assert np.isnan(alone.eyes[1]).all()
    assert np.isnan(alone.evidence[1]).all()
    assert np.isfinite(alone.probabilities).all()
    assert np.allclose(alone.eyes[0], reader.read(left, right).eyes[0], atol=1e-5)
    with pytest.raises(ValueError, match="neither eye"):
        reader.read(None, None)
    with pytest.raises(ValueError, match="expected"):
        reader.read(left[:10], None)


def test_one_eye_alone_speaks_for_itself(released):
    reader, (left, right) = ReadingModel.load(released[1]), photographs(2)
    both = reader.read(left, right)
    for side, pair in enumerate(((left, None), (None, right))):
        said = reader.read(*pair)
        assert np.array_equal(said.probabilities, said.eyes[side])
        assert said.thresholds == (0.2, 0.4, 0.7)
    assert both.thresholds == (0.3, 0.5, 0.6)
    assert not np.allclose(both.probabilities, both.eyes, atol=1e-3)


def test_a_reader_released_before_that_tells_the_fusion(released, tmp_path):
    """Its file has no line of it and no checksum, and its fingerprint holds."""
    folder = released[1]
    old = tmp_path / "reader"
    shutil.copytree(folder, old)
    release = read_reader(folder)
    bare = write_reader(
        old,
        name=release.name,
        labels=release.labels,
        thresholds=release.thresholds,
        contract=release.contract,
        enhance=release.enhance,
        card=release.card,
    )
    assert bare.fingerprint != release.fingerprint
    values = json.loads((old / "reader.json").read_text())
    del values["alone"], values["checksum"]
    (old / "reader.json").write_text(json.dumps(values))
    reader, (left, _) = ReadingModel.load(old), photographs(2)
    assert reader.release.fingerprint == bare.fingerprint
    said = reader.read(left, None)
    assert said.thresholds == (0.3, 0.5, 0.6)
    assert np.abs(said.probabilities - said.eyes[0]).max() > 1e-3


def test_people_with_one_photograph_are_judged_by_it():
    run = run_of(config_of())
    pairs = run.held.people.photographs.copy()
    pairs[3, 0] = pairs[5, 1] = -1
    eyes = np.random.default_rng(3).random((20, 2, 3)).astype(np.float32)
    said = replace(run.held, people=replace(run.held.people, photographs=pairs), eyes=eyes)
    told = run.told(said)
    assert np.array_equal(told[3], eyes[3, 1])
    assert np.array_equal(told[5], eyes[5, 0])
    assert np.array_equal(np.delete(told, (3, 5), 0), np.delete(said.probabilities, (3, 5), 0))
    assert replace(run, alone=None).told(said) is said.probabilities


def test_thresholds_of_an_eye_are_chosen_on_eyes():
    truth = np.array([[[0.0], [0.0]], [[1.0], [np.nan]], [[0.0], [1.0]]])
    said = np.array([[[0.1], [0.3]], [[0.7], [0.9]], [[0.2], [np.nan]]], np.float32)
    # known: 0 at .1, .3 and .2, 1 at .7; halfway between .3 and .7 is right of all
    assert alone_thresholds(truth, said) == pytest.approx([0.5])
    assert alone_thresholds(truth * np.nan, said) is None


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_can_be_released(tmp_path, fusion):
    config = config_of(fusion=fusion)
    folder = export_reader(run_of(config), tmp_path / "reader", config)
    parity = read_reader(folder).card["parity"]
    assert 0 <= parity < 0.005


def test_another_model_is_no_match(released):
    folder = released[1]
    other = run_of(config_of(), seed=9)
    wrong = ReleasedReader(other.model, other.answer, read_reader(folder).contract).eval()
    with pytest.raises(EncoderError, match="differs by"):
        check_reader_parity(wrong, ReadingModel.load(folder))


def test_the_folder_says_what_it_is(released):
    release = read_reader(released[1])
    assert (release.name, release.labels) == ("made-reader", LABELS)
    assert release.thresholds == (0.3, 0.5, 0.6)
    text = (released[1] / "CARD.md").read_text()
    assert "20 people" in text
    assert "no diagnosis" in text
    assert release.fingerprint in text


@pytest.mark.parametrize("file", ["model.bin", "reader.json"])
def test_a_damaged_reader_is_refused(released, tmp_path, file):
    folder = tmp_path / "damaged"
    shutil.copytree(released[1], folder)
    if file == "model.bin":
        data = bytearray((folder / file).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / file).write_bytes(data)
    else:
        values = json.loads((folder / file).read_text())
        values["thresholds"][0] = 0.9
        (folder / file).write_text(json.dumps(values))
    with pytest.raises(EncoderError, match="copy the folder again"):
        read_reader(folder)


def test_what_is_no_reader_is_said(tmp_path):
    with pytest.raises(EncoderError, match="is no reader"):
        read_reader(tmp_path)
    (tmp_path / "reader.json").write_text("[]")
    with pytest.raises(EncoderError, match="does not describe a reader"):
        read_reader(tmp_path)
    (tmp_path / "reader.json").write_text('{"format": 1, "name": "x"}')
    with pytest.raises(EncoderError, match="can't be used"):
        read_reader(tmp_path)
