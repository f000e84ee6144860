"""A whole small training run: from phantoms to a released encoder, killed and resumed."""

import json
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch

from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import read_release
from foveola.errors import ConfigError, EncoderError
from foveola.images.fundus import Contract
from foveola.models.descriptor import DescriptorModel
from foveola.phantom import generate
from foveola.training.config import BatchConfig, DataConfig, LossConfig, ModelConfig, TrainConfig
from foveola.training.export import Released, check_parity, export_encoder
from foveola.training.run import released_checkpoint
from foveola.trust import Seen

CONFIG = """
name = "small"
epochs = {epochs}
precision = "32-true"
[data]
manifests = ["phantoms/manifest.csv"]
held_out = 0.25
[model]
backbone = "mobilenetv2_050"
dimension = 8
image_size = 64
[batch]
groups = 4
images_per_group = 2
batches_per_epoch = 2
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    generate(folder / "phantoms", subjects=40, visits=3, seed=3, size=128, masks=False)
    (folder / "config.toml").write_text(CONFIG.format(epochs=3))
    return folder


def foveola(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "foveola", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(work):
    """The run, after a kill -9 in its second epoch and a second call."""
    killer = textwrap.dedent("""
        import os, signal
        from pathlib import Path
        from foveola.training import descriptor, run
        step = descriptor.DescriptorTraining.training_step
        def dying(self, batch, index):
            if self.current_epoch == 1 and index == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, batch, index)
        descriptor.DescriptorTraining.training_step = dying
        run.train(Path("config.toml"), Path("run"))
    """)
    killed = subprocess.run(
        [sys.executable, "-c", killer], cwd=work, capture_output=True, text=True, timeout=300, check=False
    )
    assert killed.returncode == -9, killed.stderr
    assert list((work / "run/checkpoints").glob("*.ckpt"))
    assert not (work / "run/encoder").exists()
    done = foveola("train", "config.toml", "run", "--json", folder=work)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"encoder": "run/encoder"}
    return work / "run"


def test_a_killed_run_goes_on_from_its_last_epoch(trained):
    newest = max((trained / "checkpoints").glob("*.ckpt"))
    checkpoint = torch.load(newest, weights_only=True)
    assert checkpoint["epoch"] == 2
    assert checkpoint["global_step"] == 6  # 3 epochs of 2 batches: none was done twice


def test_a_run_killed_in_the_export_releases_the_same_encoder(trained, work):
    shutil.copytree(work / "run", work / "again")
    shutil.rmtree(work / "again/encoder")
    kept = work / "again/config.toml"  # as a version wrote it that did not know this setting
    kept.write_text(kept.read_text().replace('pooling = "gem"\n', ""))
    done = foveola("train", "config.toml", "again", folder=work)
    assert done.returncode == 0, done.stderr
    first, second = (read_release(work / f"{name}/encoder") for name in ("run", "again"))
    assert first.fingerprint == second.fingerprint


def test_it_says_what_it_was_trained_on_and_of_nobody_held_back(trained, work):
    every = {case.path for case in Manifest.read(work / "phantoms/manifest.csv").cases()}
    held = {case.path for case in Manifest.read(trained / "held_out/phantoms.csv").cases()}
    seen = Seen.load(trained / "encoder")
    digests = {path: blake2b(Path(path).read_bytes(), digest_size=16).digest() for path in every}
    assert held < every
    assert {path for path in every if seen.among([digests[path]])[0]} == every - held
    assert len(seen.marks) == len(every - held)


def test_the_released_encoder_gives_unit_descriptors(trained):
    encoder = Encoder.load(trained / "encoder")
    assert encoder.name == "small"
    assert encoder.dimension == 8
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    descriptors = encoder.encode(pixels)
    assert descriptors.shape == (3, 8)
    assert np.linalg.norm(descriptors, axis=1) == pytest.approx(1)


def test_the_card_says_what_it_was_trained_on(trained):
    card = (trained / "encoder/CARD.md").read_text()
    assert "# small" in card
    assert "| phantoms | " in card
    assert "states no diagnosis" in card


def test_held_out_subjects_were_not_trained_on(trained, work):
    held = Manifest.read(trained / "held_out/phantoms.csv")
    everyone = Manifest.read(work / "phantoms/manifest.csv")
    subjects = set(held.table["subject"])
    assert 8 <= len(subjects) <= 12  # a quarter of 40, by grade
    card = json.loads((trained / "encoder/encoder.json").read_text())["card"]
    assert card["training"]["images"]["phantoms"] <= len(everyone) - len(held)
    assert len(held) == 6 * len(subjects)  # both eyes of each, three visits


def test_a_folder_of_another_run_is_refused_and_kept(trained, work):
    (work / "other.toml").write_text(CONFIG.format(epochs=4))
    refused = foveola("train", "other.toml", "run", folder=work)
    assert refused.returncode == 1
    assert "holds a run of another configuration" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (trained / "encoder/model.bin").exists()


def test_a_misspelt_setting_is_named(work):
    (work / "typo.toml").write_text(CONFIG.format(epochs=1).replace("image_size", "imgae_size"))
    refused = foveola("train", "typo.toml", "elsewhere", folder=work)
    assert refused.returncode == 1
    assert "unknown key 'imgae_size'; did you mean 'image_size'?" in refused.stderr
    assert not (work / "elsewhere").exists()


def small_model():
    torch.manual_seed(0)
    return DescriptorModel("mobilenetv2_050", 8)


def test_an_export_that_differs_from_the_model_is_refused(tmp_path):
    config = TrainConfig(name="x", data=DataConfig(manifests=("m",)), model=ModelConfig(dimension=8))
    folder = export_encoder(small_model(), tmp_path / "encoder", config=config, contract=Contract(size=64), counts={})
    encoder = Encoder.load(folder)
    assert check_parity(Released(small_model(), Contract(size=64)).eval(), encoder) > 0.9999
    other = small_model()
    torch.nn.init.normal_(other.projection.weight)
    with pytest.raises(EncoderError, match="differs from the trained model"):
        check_parity(Released(other, Contract(size=64)).eval(), encoder)


def test_weights_that_half_precision_would_spoil_are_kept_in_single(tmp_path):
    model = small_model().eval()
    with torch.no_grad():
        features = model(torch.rand(16, 3, 64, 64)).features.mean((0, 2, 3))
        common = features / features.norm()
        # what is left when the part that all images share cancels: rounding shows a lot
        model.projection.weight -= model.projection.weight @ common[:, None] @ common[None]
    config = TrainConfig(name="x", data=DataConfig(manifests=("m",)), model=ModelConfig(dimension=8))
    contract = Contract(size=64)
    folder = export_encoder(model, tmp_path / "e", config=config, contract=contract, counts={})
    assert check_parity(Released(model, contract).eval(), Encoder.load(folder)) > 0.9999
    assert (folder / "model.bin").stat().st_size > 3 * sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"manifests": ()}, "manifests is empty"),
        ({"manifests": ("a",), "held_out": 1.0}, "held_out is 1.0"),
        ({"manifests": ("a",), "collections": ("x", "y")}, "2 collections for 1 manifests"),
    ],
)
def test_senseless_data_settings_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        DataConfig(**values)


def test_pairs_of_an_image_alone_are_refused():
    data, alone = DataConfig(manifests=("m",)), BatchConfig(images_per_group=1)
    with pytest.raises(ValueError, match="images_per_group is 1, which makes no pair for triplet"):
        TrainConfig(name="x", data=data, batch=alone)
    assert TrainConfig(name="x", data=data, batch=alone, loss=LossConfig(name="none"))


def test_the_epoch_that_is_released_is_the_best_or_where_asked_the_last(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("best.ckpt", "epoch=0001.ckpt", "epoch=0002.ckpt"):
        torch.save({}, tmp_path / "checkpoints" / name)
    judged = DataConfig(manifests=("m",), validation=0.1)
    alone = DataConfig(manifests=("m",))
    named = {
        "best.ckpt": TrainConfig(name="x", data=judged),
        "epoch=0002.ckpt": TrainConfig(name="x", data=judged, release="last"),
    }
    for name, config in named.items():
        assert released_checkpoint(config, tmp_path) == tmp_path / "checkpoints" / name
    assert released_checkpoint(TrainConfig(name="x", data=alone), tmp_path).name == "epoch=0002.ckpt"


def test_kept_maps_are_of_one_size_and_one_side():
    data, model = DataConfig(manifests=("m",), variants=2), ModelConfig(freeze=2)
    assert TrainConfig(name="x", data=data, model=model)
    for changed in ({"encoded_size": 352}, {"mirrored": True}, {"freeze": 0}):
        with pytest.raises(ValueError, match="variants keeps the maps of frozen stages"):
            TrainConfig(name="x", data=data, model=replace(model, **changed))


def test_missing_weights_are_named(work):
    text = CONFIG.format(epochs=1).replace("[model]", '[model]\nweights = "no.safetensors"')
    (work / "weights.toml").write_text(text)
    from foveola.training.run import train

    with pytest.raises(ConfigError, match=r"weights: .*no\.safetensors does not exist"):
        train(work / "weights.toml", work / "run-weights", lambda _: None)


def test_too_few_labelled_photographs_are_refused_in_a_sentence(tmp_path):
    generate(tmp_path / "phantoms", subjects=4, visits=1, seed=3, size=128, masks=False)
    (tmp_path / "config.toml").write_text(CONFIG.format(epochs=1))
    refused = foveola("train", "config.toml", "run", folder=tmp_path)
    assert refused.returncode == 1
    assert "0 labels have 12 images or more; training needs at least 2:" in refused.stderr
    assert "Traceback" not in refused.stderr


IDENTITY = """
name = "identity"
epochs = 4
patience = 1
precision = "32-true"
optimizer = "adam"
schedule = "constant"
average_decay = 0.0
[data]
manifests = ["phantoms/manifest.csv"]
held_out = 0.25
validation = 0.3
label = "eye"
augment = "mild"
[model]
backbone = "mobilenetv2_050"
dimension = 8
image_size = 64
in_channels = 1
[batch]
groups = 4
images_per_group = 3
batches_per_epoch = 2
[loss]
name = "ada_triplet"
auto_margin = true
proxy_weight = 0.0
"""

MIRROR = """
name = "mirror"
epochs = 1
precision = "32-true"
[data]
manifests = ["phantoms/manifest.csv"]
[model]
backbone = "mobilenetv2_050"
dimension = 0
image_size = 64
attention = "mirror"
views = "encode"
gate = true
[batch]
groups = 4
images_per_group = 2
batches_per_epoch = 1
[loss]
name = "fine_triplet"
grade_weight = 1.0
proxy_weight = 0.0
"""


FINDINGS = """
name = "findings"
epochs = 1
release = "last"
precision = "32-true"
[data]
manifests = ["phantoms/manifest.csv"]
label = "findings"
augment = "steady"
validation = 0.2
[model]
encoded_size = 96
mirrored = true
backbone = "mobilenetv2_050"
dimension = 0
reduce = 16
image_size = 64
[batch]
groups = 4
images_per_group = 2
batches_per_epoch = 2
[loss]
name = "none"
proxy_weight = 0.0
label_weight = 1.0
findings_weight = 0.5
smoothing = 0.1
dropout = 0.2
"""


def logged(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "log"))
    events.Reload()
    return {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_matching_eyes_is_validated_on_other_subjects_and_the_best_epoch_is_released(work):
    (work / "identity.toml").write_text(IDENTITY)
    done = foveola("train", "identity.toml", "identity", "--json", folder=work)
    assert done.returncode == 0, done.stderr
    scores = logged(work / "identity")["validation/mAP"]
    assert 1 <= len(scores) <= 4
    assert all(0 < score <= 1 for score in scores)
    best = torch.load(work / "identity/checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == int(np.argmax(scores))
    values = logged(work / "identity")
    for tag in ("margin", "beta", "similarity/positive", "triplets/active", "gradient"):
        assert np.isfinite(values[tag]).all(), tag
    encoder = Encoder.load(work / "identity/encoder")
    grey = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1), dtype=np.uint8)
    assert encoder.encode(np.repeat(grey, 3, axis=3)).shape == (1, 8)


def test_the_mirror_paper_trains_and_is_released_with_both_halves(work):
    (work / "mirror.toml").write_text(MIRROR)
    done = foveola("train", "mirror.toml", "mirror", "--json", folder=work)
    assert done.returncode == 0, done.stderr
    assert Encoder.load(work / "mirror/encoder").dimension == 2 * 1280
    assert {"loss/fine_triplet", "loss/grade"} <= set(logged(work / "mirror"))


def test_a_head_on_sets_of_findings_trains_alone(work):
    (work / "findings.toml").write_text(FINDINGS)
    done = foveola("train", "findings.toml", "findings", "--json", folder=work)
    assert done.returncode == 0, done.stderr
    encoder = Encoder.load(work / "findings/encoder")
    assert (encoder.dimension, encoder.contract.size) == (16, 96)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    assert encoder.encode(pixels[:, :, ::-1]) == pytest.approx(encoder.encode(pixels), abs=1e-3)
    assert {"loss/label", "loss/findings"} <= set(logged(work / "findings"))
