"""A reader that starts from a released encoder sees what that encoder sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch

from foveola.encoders.parts import convolutions
from foveola.encoders.release import DEFAULT, read_release
from foveola.errors import ConfigError, EncoderError
from foveola.models.binocular import trunk
from foveola.models.descriptor import normalise
from foveola.models.weights import load_folded
from foveola.training.people_data import contract_of
from foveola.training.reading_model import build_reader
from made_readers import config_of

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
