"""Pooling and the descriptor model, by hand and by property."""

import pytest
import torch
from safetensors.torch import save_file

from foveola.models.descriptor import DescriptorModel, normalise
from foveola.models.pooling import GeM


def tiny(**changes):
    torch.manual_seed(0)
    return DescriptorModel(**{"backbone": "mobilenetv2_050", "dimension": 16, **changes})


def test_gem_by_hand():
    # mean of 1, 8, 27, 0 is 9; its cube root 2.0801. A negative counts as eps.
    x = torch.tensor([[[[1.0, 2.0], [3.0, -5.0]]]])
    assert GeM(p=3)(x).item() == pytest.approx(9 ** (1 / 3), rel=1e-5)


def test_gem_runs_from_the_average_to_the_maximum():
    x = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(1)) + 0.1
    assert torch.allclose(GeM(p=1)(x), x.mean((2, 3)), atol=1e-5)
    assert torch.allclose(GeM(p=200)(x), x.amax((2, 3)), atol=0.02)


def test_gem_does_not_overflow_in_half_precision():
    x = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)  # its cube is beyond float16
    assert GeM()(x).item() == pytest.approx(300, rel=1e-3)


def test_gem_learns_its_exponent():
    pool = GeM()
    pool(torch.rand(1, 2, 3, 3)).sum().backward()
    assert pool.p.grad is not None
    assert pool.p.grad.item() != 0


@pytest.mark.parametrize("count", [1, 3])
def test_descriptors_are_unit_vectors_of_the_dimension_asked(count):
    described = tiny().eval()(torch.rand(count, 3, 64, 64))
    assert described.descriptor.shape == (count, 16)
    assert described.descriptor.norm(dim=1).tolist() == pytest.approx([1.0] * count)
    assert described.features.shape == (count, 1280, 2, 2)


def test_every_parameter_gets_a_gradient():
    model = tiny()
    weights = torch.arange(16.0)
    (model(torch.rand(4, 3, 64, 64)).descriptor * weights).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_freezing_keeps_weights_and_statistics_of_the_first_stages_only():
    model = tiny()
    model.freeze(2)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    (model(torch.rand(4, 3, 64, 64)).descriptor * torch.arange(16.0)).sum().backward()
    optimizer.step()
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    frozen = ("backbone.conv_stem", "backbone.bn1", "backbone.blocks.0", "backbone.blocks.1")
    assert not {name for name in changed if name.startswith(frozen)}
    assert {"backbone.blocks.2.0.bn1.running_mean", "backbone.conv_head.weight"} <= changed


def test_freezing_more_stages_than_there_are_is_refused():
    with pytest.raises(ValueError, match="freeze is 9; the backbone has 5 stages"):
        tiny().freeze(9)


def test_weights_are_loaded_whole_or_refused(tmp_path):
    good = tiny()
    path = tmp_path / "weights.safetensors"
    save_file(good.backbone.state_dict(), path)
    torch.manual_seed(5)
    loaded = DescriptorModel("mobilenetv2_050", 16, path)
    for name, value in good.backbone.state_dict().items():
        assert torch.equal(loaded.backbone.state_dict()[name], value.float()), name
    state = good.backbone.state_dict()
    state.pop("conv_head.weight")
    save_file(state, path)
    with pytest.raises(ValueError, match=r"weights.safetensors does not fit the backbone"):
        DescriptorModel("mobilenetv2_050", 16, path)


def test_normalise_by_hand():
    # 255 is 1.0: (1 - 0.5) / 0.25 = 2; 0 is (0 - 0.5) / 0.25 = -2
    pixels = torch.tensor([[[[255, 0, 255]]]], dtype=torch.uint8)
    out = normalise(pixels, torch.tensor([0.5] * 3), torch.tensor([0.25] * 3))
    assert out.shape == (1, 3, 1, 1)
    assert out.flatten().tolist() == [2, -2, 2]
