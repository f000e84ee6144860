"""Rows of the comparison: read, trained on folds, kept; and the kept maps behind them."""

import json

import numpy as np
import pytest
import torch

from foveola.datasets.manifest import Manifest
from foveola.errors import ConfigError
from foveola.images.fundus import Contract
from foveola.models.descriptor import DescriptorModel, Trunk
from foveola.phantom import generate
from foveola.training.evidence import read_descriptors, read_entries, read_rows, train_rows
from foveola.training.maps import PackedMaps, describe_all, pack_maps

ROWS = """
[common]
epochs = 1
precision = "32-true"
[common.data]
manifests = ["phantoms/manifest.csv"]
label = "grade"
held_out = 0.5
variants = 2
[common.model]
backbone = "mobilenetv2_050"
dimension = 8
image_size = 64
freeze = 3
[common.batch]
groups = 4
images_per_group = 2
batches_per_epoch = 2
[common.loss]
proxy_weight = 0.0

[[rows]]
name = "frozen"
trained = false
model = { dimension = 0 }
[[rows]]
name = "mirror"
title = "mirror attention"
model = { attention = "mirror" }
loss = { name = "fine_triplet" }
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    generate(folder / "phantoms", subjects=40, visits=1, seed=3, size=128, masks=False)
    (folder / "rows.toml").write_text(ROWS)
    return folder


def test_rows_take_the_common_values_and_put_their_own_in_their_place(work):
    frozen, mirror = read_rows(work / "rows.toml")
    assert (frozen.name, frozen.title, frozen.trained) == ("frozen", "frozen", False)
    assert (frozen.config.model.dimension, frozen.config.model.freeze) == (0, 3)
    assert (mirror.title, mirror.config.model.dimension) == ("mirror attention", 8)
    assert (mirror.config.loss.name, mirror.config.loss.proxy_weight) == ("fine_triplet", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROWS.replace('"mirror"', '"frozen"', 1), "name of its own"),
        (ROWS.replace("freeze = 3", "frieze = 3"), "frieze"),
        ("[common]\n", "expected \\[\\[rows\\]\\]"),
        ("not toml", "rows.toml"),
    ],
)
def test_a_wrong_file_of_rows_is_refused(tmp_path, text, said):
    path = tmp_path / "rows.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_rows(path)


@pytest.mark.filterwarnings("ignore")  # Lightning's advice
def test_every_person_is_held_out_of_one_fold_and_nothing_is_made_twice(work):
    said = []
    done = list(train_rows(work / "rows.toml", work / "out", folds=2, report=said.append))
    assert [(row.name, fold) for row, fold, _ in done] == [("frozen", 0), ("mirror", 0), ("frozen", 1), ("mirror", 1)]
    subjects = {c.image: c.subject for c in Manifest.read(work / "phantoms/manifest.csv").cases()}
    asked = []
    for row, _, folder in done:
        cases = json.loads((folder / "cases.json").read_text())
        rows = np.load(folder / "descriptors.npy")
        assert rows.shape[0] == len(cases) > 60
        assert np.allclose(np.linalg.norm(rows.astype(float), axis=1), 1, atol=1e-2)
        held = {subjects[c["image"]] for c in cases if c["held"]}
        assert held.isdisjoint({subjects[c["image"]] for c in cases if not c["held"]})
        if row.name == "mirror":
            asked.append(held)
            assert not (folder / "checkpoints").exists()
    assert asked[0].isdisjoint(asked[1])
    assert len(asked[0] | asked[1]) > 30
    before = [(f / "descriptors.npy").stat().st_mtime_ns for *_, f in done]
    again = list(train_rows(work / "rows.toml", work / "out", folds=2, report=said.append))
    assert [(f / "descriptors.npy").stat().st_mtime_ns for *_, f in again] == before


def test_descriptors_are_read_in_the_order_asked_for_whatever_order_they_were_made_in(tmp_path):
    entries = [("a", "1.jpg", True), ("a", "2.jpg", False), ("b", "1.jpg", False)]
    made = np.eye(3, dtype=np.float16)
    for name, order in (("one", [0, 1, 2]), ("two", [2, 0, 1])):
        folder = tmp_path / name
        folder.mkdir()
        cases = [dict(zip(("collection", "image", "held"), entries[i], strict=True)) for i in order]
        (folder / "cases.json").write_text(json.dumps(cases))
        np.save(folder / "descriptors.npy", made[order])
    assert (read_descriptors(tmp_path / "two", entries) == np.eye(3)).all()
    assert (read_descriptors(tmp_path / "one", entries) == np.eye(3)).all()
    assert read_entries(tmp_path / "two")[0] == ("b", "1.jpg", False)
    other = [("a", "1.jpg", False), *entries[1:]]  # another person was held out
    with pytest.raises(ConfigError, match="another split than the rest of the table"):
        read_descriptors(tmp_path / "one", other)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 72, 72, 3), dtype=np.uint8)


def model(seed=0, freeze=3):
    torch.manual_seed(seed)
    made = DescriptorModel("mobilenetv2_050", 16)
    made.freeze(freeze)
    return made


def test_kept_maps_give_the_descriptors_of_the_whole_model(images, tmp_path):
    contract = Contract(size=64)
    kept = describe_all(model(), images, contract, tmp_path, lambda _: None)
    whole = describe_all(model(), images, contract)
    assert kept.shape == (5, 16)
    assert (kept * whole).sum(1).min() > 0.999  # the kept maps are rounded to half precision


def test_maps_are_kept_for_the_same_frozen_stages_and_images_alone(images, tmp_path):
    def pack(made, pixels=images, **changed):
        options = {"kind": "fundus", "variants": 2} | changed
        said = []
        pack_maps(Trunk(made), pixels, Contract(size=64), tmp_path, report=said.append, **options)
        return bool(said)

    assert pack(model())
    assert not pack(model())
    assert pack(model(seed=1))
    assert pack(model(freeze=2))
    assert pack(model(), variants=3)
    assert pack(model(), kind="none")
    later = model()
    torch.nn.init.zeros_(later.backbone.conv_head.weight)  # not frozen: trained by then
    assert not pack(later)
    other = images.copy()
    other[0, 0, 0] ^= 1
    assert pack(model(), other)


def test_a_random_variant_of_the_right_image_is_trained_on(images, tmp_path):
    maps = pack_maps(
        Trunk(model()), images, Contract(size=64), tmp_path, kind="fundus", variants=3, report=lambda _: None
    )
    data = PackedMaps(maps, np.arange(5), np.arange(5) - 1, seed=0)
    seen = set()
    for _ in range(40):
        chosen, target, grade = data[2]
        assert (target, grade) == (2, 1)
        seen |= {v for v in range(3) if np.array_equal(maps[2, v], chosen.numpy())}
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("training", [True, False])
def test_keeping_maps_leaves_the_model_in_its_mode(images, tmp_path, training):
    made = model().train(training)
    pack_maps(Trunk(made), images, Contract(size=64), tmp_path, kind="none", variants=1, report=lambda _: None)
    assert made.training == training
    assert made.projection.training == training


@pytest.mark.filterwarnings("ignore")  # Lightning's advice
@pytest.mark.parametrize("variants", [0, 2])
def test_a_row_with_a_label_part_finds_its_own_training_images_labels(work, variants):
    text = ROWS.split("[[rows]]")[0].replace("variants = 2", f"variants = {variants}")
    text += '[[rows]]\nname = "labels"\nmodel = { label_share = 0.9 }\n'
    path = work / f"labels-{variants}.toml"
    path.write_text(text)
    ((_, _, folder),) = train_rows(path, work / f"out-{variants}", 1, lambda _: None)
    rows = np.load(folder / "descriptors.npy").astype(float)
    assert rows.shape[1] > 8 + 2
    assert np.allclose((rows**2).sum(1), 1, atol=5e-3)
    assert np.allclose((rows[:, 8:] ** 2).sum(1), 0.9, atol=5e-3)
    cases = json.loads((folder / "cases.json").read_text())
    grades = {c.image: c.grade for c in Manifest.read(work / "phantoms/manifest.csv").cases()}
    said = rows[:, 8:].argmax(1)
    trained = [i for i, c in enumerate(cases) if not c["held"]]
    known = sorted({grades[cases[i]["image"]] for i in trained})
    right = [known[said[i]] == grades[cases[i]["image"]] for i in trained]
    assert np.mean(right) > 1.5 / len(known)  # well beyond chance, on what it was fitted to
