"""Training of a reader on made people: it learns, goes on after a kill, and leaves no one out."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from PIL import Image

from foveola.datasets.manifest import Manifest
from foveola.encoders.parts import convolutions
from foveola.encoders.release import DEFAULT, read_release
from foveola.errors import ConfigError, EncoderError, ManifestError
from foveola.metrics.multilabel import choose_thresholds
from foveola.metrics.probabilities import fit_temperature
from foveola.models.backbone import load_folded
from foveola.models.binocular import trunk
from foveola.models.descriptor import normalise
from foveola.people import people_of
from foveola.training.config import PeopleConfig, ReaderConfig, ReadingConfig, ReadingLossConfig
from foveola.training.prepared import Feed, PeopleImages, contract_of, prepare_people
from foveola.training.reading import ReadingTraining, build_reader, train_reader
from made_readers import config_of

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice
LABELS = ("N", "D")
SMALL = {"backbone": "mobilenetv2_035", "image_size": 64, "width": 32, "feature": 16}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """40 people; a third of the eyes is pale, "D"; every fifth person has one eye."""
    folder, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    rows = []
    for person in range(40):
        ill = rng.random(2) < 0.35
        for side, eye in enumerate(("left", "right")):
            if person % 5 == 0 and side == person % 2:
                continue
            image = rng.integers(60, 90, (80, 80, 3)).astype(np.uint8)
            image = image + np.uint8(130 * ill[side])
            Image.fromarray(image).save(folder / f"{person}{eye}.png")
            rows.append((f"{person}{eye}.png", person, eye, "D" if ill[side] else "N"))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "subject", "eye", "findings"), *rows])
    return folder


def configured(model=None, loss=None, data=None, **settings):
    return ReadingConfig(
        name="r",
        data=PeopleConfig(
            manifests=("labels.csv",),
            labels=LABELS,
            augment="none",
            margin=1.0,
            held_out=0.25,
            validation=0.2,
            **(data or {}),
        ),
        model=ReaderConfig(**{**SMALL, **(model or {})}),
        loss=ReadingLossConfig(**(loss or {})),
        batch=8,
        **{"epochs": 1, "average_decay": 0.0, "precision": "32-true", **settings},
    )


def test_a_reader_learns_what_either_eye_shows(work):
    config = configured(loss={"missing": 0.0}, model={"dropout": 0.0})
    cases = list(Manifest.read(work / "labels.csv").cases())
    people = people_of(cases, LABELS).of(np.arange(16))
    images = np.stack([np.asarray(Image.open(case.path)) for case in cases])
    rows = [PeopleImages(images, people, 64)[i] for i in range(16)]
    batch = tuple(torch.stack(column) for column in zip(*rows, strict=True))
    module = ReadingTraining(config, build_reader(config, work), torch.ones(2), 40, people)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]  # knowing only what is common leaves two thirds


def test_people_held_back_are_read_and_never_trained_on(work, tmp_path):
    run = train_reader(configured(), work, tmp_path / "run")
    assert run.held.probabilities.shape == (10, 2)
    assert run.held.features.shape == (10, 16)
    held = set(run.held.people.identities)
    assert len(held) == 10
    assert not held & set(run.validation.people.identities)
    assert not held & set(run.prepared.part("trained").identities)


def test_a_run_goes_on_where_it_was_and_ends_with_the_same(work, tmp_path):
    once = train_reader(configured(epochs=2), work, tmp_path / "once")
    again = train_reader(configured(epochs=2), work, tmp_path / "once")
    assert (once.held.probabilities == again.held.probabilities).all()


def test_a_frozen_backbone_stays_as_it_was(work, tmp_path):
    config = configured(model={"freeze": 4})
    before = build_reader(config, work).backbones.state_dict()
    torch.manual_seed(0)
    run = train_reader(config, work, tmp_path / "run")
    after = run.model.backbones.state_dict()
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": {"name": "softmax"}, "data": {"enhance": True}},
        {"loss": {"name": "asymmetric", "balance": 0.9, "person_weight": 0.0, "eye_weight": 1.0}},
        {"model": {"fusion": "cross", "shared": False, "attention": False}},
    ],
)
def test_every_way_trains_and_gives_probabilities(work, tmp_path, settings):
    run = train_reader(configured(**settings), work, tmp_path / "run")
    said = run.validation.probabilities
    assert ((said >= 0) & (said <= 1)).all()
    if settings.get("loss", {}).get("name") == "softmax":
        assert said.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_some_people_lose_an_eye_and_never_both(work):
    config = configured(loss={"missing": 0.5})
    people = people_of([], LABELS)
    module = ReadingTraining(config, build_reader(config, work), torch.ones(2), 1, people)
    present = torch.tensor([[True, True]] * 1000 + [[True, False]] * 200)
    left = module._some_missing(present)
    assert left.any(1).all()
    assert 400 < (~left[:1000]).any(1).sum() < 600
    assert (left[1000:] == present[1000:]).all()
    assert 0.4 < (~left[:1000, 0]).sum() / (~left[:1000]).sum() < 0.6


def test_a_missing_photograph_is_black_and_its_labels_are_not_known():
    from foveola.records import Case

    case = Case(image="a", path="/a", subject="a", eye="right", findings=frozenset({"D"}))
    people = people_of([case], LABELS)
    images = np.full((1, 64, 64, 3), 9, np.uint8)
    pair, present, truth, eyes = PeopleImages(images, people, 64)[0]
    assert pair[0].max() == 0
    assert pair[1].min() == 9
    assert present.tolist() == [False, True]
    assert truth.tolist() == [0, 1]
    assert eyes[0].isnan().all()


def test_what_cannot_be_trained_is_said(work, tmp_path):
    with pytest.raises(ConfigError, match=r"none\.safetensors does not exist"):
        train_reader(configured(model={"weights": "none.safetensors"}), work, tmp_path / "a")
    with pytest.raises(ManifestError, match="people to train on"):
        train_reader(replace(configured(), batch=100), work, tmp_path / "b")
    for wrong in ({"person_weight": 0.0, "eye_weight": 0.0}, {"missing": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            ReadingLossConfig(**wrong)
    with pytest.raises(ValueError, match="expected above 0, people"):
        PeopleConfig(manifests=("a",), validation=0.0)


def test_kept_maps_say_what_the_photographs_say(work, tmp_path):
    config = configured(model={"freeze": 2}, data={"variants": 1, "cache": str(tmp_path)})
    prepared = prepare_people(config.data, 64, work, tmp_path / "run", lambda _: None)
    module = ReadingTraining(config, build_reader(config, work), torch.ones(2), 1, prepared.people)
    module.eval()
    said = []
    for each in (config, configured(model={"freeze": 2})):
        feed = Feed(each, module.model, prepared, tmp_path, lambda _: None)
        pixels, present, *_ = next(iter(feed.plain(prepared.people)))
        with torch.no_grad():
            read = module(pixels, present)
        said.append((read.person, read.feature, read.eyes[present]))
    for kept, whole in zip(*said, strict=True):
        assert torch.allclose(kept, whole, atol=0.05 * float(whole.abs().max()))  # bf16


def test_frozen_stages_stay_and_the_rest_learns_from_kept_maps(work, tmp_path):
    config = configured(model={"freeze": 2}, data={"variants": 2, "cache": str(tmp_path)})
    torch.manual_seed(0)
    before = build_reader(config, work).state_dict()
    run = train_reader(config, work, tmp_path / "run")
    after = run.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(".conv_stem" in name or "blocks.1." in name for name in changed)
    assert any("blocks.3." in name for name in changed)
    assert any(path.name.endswith("-maps.npy") for path in tmp_path.iterdir())


def test_kept_maps_need_frozen_stages_of_one_backbone():
    for model in ({"freeze": 0}, {"freeze": 2, "shared": False}):
        with pytest.raises(ValueError, match="set freeze and shared"):
            configured(model=model, data={"variants": 2})


def test_a_folder_with_another_run_is_refused(work, tmp_path):
    train_reader(configured(), work, tmp_path / "run")
    with pytest.raises(ConfigError, match="another configuration"):
        train_reader(configured(seed=1), work, tmp_path / "run")


def test_probabilities_are_calibrated_by_the_validation_people(work, tmp_path):
    run = train_reader(configured(epochs=2), work, tmp_path / "run")
    temperature = float(run.answer.temperature)
    assert temperature != 1
    logits = torch.from_numpy(run.validation.probabilities).double().logit() * temperature
    truth = run.validation.people.truth
    assert fit_temperature(truth, logits.numpy()) == pytest.approx(temperature, rel=1e-3)
    chosen = choose_thresholds(truth > 0, run.validation.probabilities)
    assert (run.thresholds == chosen).all()
    assert np.isnan(run.held.eyes[~run.held.people.present]).all()
    assert not np.isnan(run.held.eyes[run.held.people.present]).any()


HERE = Path()
WHOLE = {"backbone": "mobilenetv2_100", "weights": DEFAULT, "whole": True, "freeze": 5}


def started(**settings):
    config = config_of()
    return build_reader(replace(config, model=replace(config.model, **settings)), HERE)


def said_by_openvino(pixels, layer):
    """What the encoder's convolution number `layer` gives with its bias, by OpenVINO."""
    core = ov.Core()
    model = core.read_model(read_release(DEFAULT).folder / "model.xml")
    ops = [op for op in model.get_ordered_ops() if op.get_type_name().endswith("Convolution")]
    (after,) = ops[layer].output(0).get_target_inputs()
    cut = ov.Model([after.get_node().output(0)], model.get_parameters(), "cut")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(cut, "CPU", exact)(pixels)[0]


def test_the_maps_are_those_of_the_encoder():
    release = read_release(DEFAULT)
    size = release.contract.size
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    turned = pixels[:, :, ::-1]  # the encoder looks at the mirror too, after the photograph
    model = started(**WHOLE).eval()
    mean, std = torch.tensor(release.contract.mean), torch.tensor(release.contract.std)
    both = np.concatenate([pixels, turned])
    images = normalise(torch.from_numpy(both), mean, std)
    with torch.no_grad():
        maps = model.encode(torch.stack([images, images], 1))
    assert torch.equal(maps[:, 0], maps[:, 1])
    passes = len(convolutions(DEFAULT)) // 2
    for number, layer in enumerate((passes - 2, -2)):  # the last widens to 1280, beyond the stages
        expected = said_by_openvino(pixels, layer)[0]
        assert maps[number, 0].shape == expected.shape == (320, size // 32, size // 32)
        np.testing.assert_allclose(maps[number, 0].numpy(), expected, atol=2e-3 * np.abs(expected).max())


def test_training_does_not_change_them():
    model = started(**WHOLE).train()
    before = [value.clone() for value in model.backbones[0].state_dict().values()]
    model(torch.randn(2, 2, 3, 64, 64)).person.sum().backward()
    after = model.backbones[0].state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_without_its_last_stage_it_is_cut_before():
    model = started(**WHOLE | {"whole": False, "freeze": 4})
    assert model.encode(torch.zeros(1, 2, 3, 64, 64)).shape == (1, 2, 96, 4, 4)


def test_stages_that_would_lose_their_statistics_are_refused():
    with pytest.raises(ConfigError, match=r"freeze is 2; .* all 5 stages .* set freeze = 5"):
        started(**WHOLE | {"freeze": 2})


def test_another_backbone_is_refused():
    with pytest.raises(ValueError, match=f"{DEFAULT} does not fit the backbone"):
        load_folded(trunk("resnet18", whole=True), convolutions(DEFAULT), DEFAULT)


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="weights: nothing does not exist"):
        started(**WHOLE | {"weights": "nothing"})
    with pytest.raises(EncoderError, match="is no encoder"):
        started(**WHOLE | {"weights": str(tmp_path)})


def test_the_published_resnet_has_no_last_stage():
    with pytest.raises(ValueError, match="resnet50v2 has no last stage"):
        trunk("resnet50v2", whole=True)


def test_the_contract_is_the_encoders_where_the_size_is():
    config = config_of()
    model = replace(config.model, image_size=read_release(DEFAULT).contract.size)
    assert contract_of(model) == read_release(DEFAULT).contract
