"""A timm model with weights in a file becomes an encoder that gives what timm gives."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from foveola.encoders.add import Wanted, trial_images
from foveola.encoders.encoder import Encoder
from foveola.encoders.parts import Parts
from foveola.errors import EncoderError
from foveola.training.timm_encoder import add_timm


@pytest.fixture
def saved(tmp_path):
    """Make a model with random weights, a classifier among them, and save these."""

    def make(name, **said):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=5, **said).eval()
        save_file(model.state_dict(), tmp_path / "w.safetensors")
        return model, tmp_path / "w.safetensors"

    return make


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 96), ("convnext_atto", 96), ("vit_tiny_patch16_224", None), ("swin_tiny_patch4_window7_224", None)],
)
def test_descriptors_are_the_pooled_features_of_timm(tmp_path, saved, name, size):
    model, path = saved(name)
    release = add_timm(name, path, tmp_path / "e", Wanted(size=size))
    side = size or 224
    assert release.contract.size == side
    mean, std = (torch.tensor(model.default_cfg[key]) for key in ("mean", "std"))
    assert release.contract.mean == pytest.approx(mean.tolist())
    images = trial_images(side, 3)
    batch = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(batch), pre_logits=True)
    expected = torch.nn.functional.normalize(expected).numpy()
    found = Encoder(release, threads=1).encode(images)
    assert (found * expected).sum(axis=1).min() > 0.9999
    assert release.card["origin"]["kind"] == f"weights of timm's {name}"


def test_weights_of_another_model_are_refused(tmp_path, saved):
    _, path = saved("resnet18")
    with pytest.raises(EncoderError, match="holds no weights of timm's resnet34"):
        add_timm("resnet34", path, tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_a_size_that_a_transformer_was_not_made_for_is_refused(tmp_path, saved):
    _, path = saved("vit_tiny_patch16_224")
    with pytest.raises(EncoderError, match="can't take images of 320 pixels: Input height"):
        add_timm("vit_tiny_patch16_224", path, tmp_path / "e", Wanted(size=320))


def test_the_map_of_a_timm_model_is_beside_its_descriptor(tmp_path, saved):
    _, path = saved("resnet18")
    release = add_timm("resnet18", path, tmp_path / "e", Wanted(size=128))
    encoder = Encoder(release, threads=1)
    image = trial_images(128)[0]
    seen = encoder.embed_with_quality(image)
    assert seen.pooled.shape == (512,)
    cosine = seen.pooled @ seen.descriptor / np.linalg.norm(seen.pooled)
    assert cosine == pytest.approx(1, abs=1e-4)
    assert Parts(release).features(image).shape == (512, 4, 4)
