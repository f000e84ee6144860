"""Pooling and the descriptor model, by hand and by property."""

import pytest
import torch
from safetensors.torch import save_file

from foveola.models.descriptor import Average, DescriptorModel, GeM, Trunk, normalise


def tiny(**changes):
    torch.manual_seed(0)
    return DescriptorModel(**{"backbone": "mobilenetv2_050", "dimension": 16, **changes})


def test_gem_by_hand():
    # mean of 1, 8, 27, 0 is 9; its cube root 2.0801. A negative counts as eps.
    x = torch.tensor([[[[1.0, 2.0], [3.0, -5.0]]]])
    assert GeM(p=3)(x).item() == pytest.approx(9 ** (1 / 3), rel=1e-5)


@pytest.mark.parametrize(("settings", "floor"), [({}, 1e-6), ({"eps": 0.5}, 0.5)])
def test_what_is_dark_everywhere_is_pooled_to_eps_and_still_teaches(settings, floor):
    pool = GeM(**settings)
    x = torch.tensor([[[[0.0, -1.0]]]], requires_grad=True)
    pooled = pool(x)
    assert pooled.item() == pytest.approx(floor, rel=1e-4)
    pooled.sum().backward()  # without a floor log 0 makes the exponent's gradient NaN
    assert pool.p.grad.isfinite()
    assert x.grad.isfinite().all()


def test_gem_runs_from_the_average_to_the_maximum():
    x = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(1)) + 0.1
    assert torch.allclose(GeM(p=1)(x), x.mean((2, 3)), atol=1e-5)
    assert torch.allclose(GeM(p=200)(x), x.amax((2, 3)), atol=0.02)


def test_the_average_counts_negatives_and_is_in_single_precision():
    x = torch.tensor([[[[1.0, 2.0], [3.0, -5.0]]]], dtype=torch.float16)
    assert Average()(x).tolist() == [[0.25]]
    assert Average()(x).dtype == torch.float32


def test_a_model_pools_by_the_average_where_asked():
    x = torch.rand(2, 3, 64, 64)
    model = tiny(pooling="average", dimension=None).eval()
    described = model(x)
    assert torch.allclose(described.pooled, described.features.mean((2, 3)))
    assert not any("pool" in name for name, _ in model.named_parameters())


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


def test_encoded_views_are_the_maps_of_the_mirrored_images():
    model = tiny(attention="mirror", views="encode", gate=True).eval()
    x = torch.rand(2, 3, 64, 96)
    original, left_right, up_down = model.maps(x)
    torch.testing.assert_close(left_right, model.maps(x.flip(-1))[0])
    torch.testing.assert_close(up_down, model.maps(x.flip(-2))[0])
    assert not torch.allclose(left_right, original.flip(-1), atol=1e-3)


def test_feature_views_mirror_the_map_and_encode_once():
    model = tiny(attention="mirror", views="feature").eval()
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    original, left_right, up_down = model.maps(torch.rand(1, 3, 64, 96))
    assert torch.equal(left_right, original.flip(-1))
    assert torch.equal(up_down, original.flip(-2))
    assert len(calls) == 1


def test_nobody_encodes_mirrors_that_are_not_looked_at():
    model = tiny(attention="se", views="encode").eval()
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model(torch.rand(1, 3, 64, 64))
    assert len(calls) == 1


def test_a_mirrored_model_says_the_same_of_a_photograph_and_its_mirror():
    model, x = tiny(), torch.rand(2, 3, 64, 96)
    alone = model.eval().maps(x)[0], model.maps(x.flip(-1))[0]
    model.mirrored = True
    both = model.maps(x)[0]
    torch.testing.assert_close(both, (alone[0] + alone[1].flip(-1)) / 2)
    torch.testing.assert_close(model(x).descriptor, model(x.flip(-1)).descriptor)
    assert not torch.allclose(alone[0], both, atol=1e-3)
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model.train().maps(x)
    assert len(calls) == 1  # a training step costs what it did


def test_the_papers_descriptor_is_both_halves_pooled_and_the_sum_their_sum():
    x = torch.rand(2, 3, 64, 64)
    model = tiny(attention="mirror", dimension=None, fusion="concat").eval()
    halves = [model.pool(each) for each in model.attend(x)]
    concat = torch.nn.functional.normalize(torch.cat(halves, 1), dim=1)
    torch.testing.assert_close(model(x).descriptor, concat)
    assert model.dimension == 2560
    model.fusion = "sum"
    total = torch.nn.functional.normalize(halves[0] + halves[1], dim=1)
    torch.testing.assert_close(model(x).descriptor, total)
    assert tiny(attention="mirror", dimension=None, fusion="sum").dimension == 1280


def test_halves_of_a_new_mirror_model_agree_wholly():
    model = tiny(attention="mirror").train()
    a, b = model(torch.rand(4, 3, 64, 64)).descriptor.chunk(2, 1)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("attention", ["mirror", "cbam"])
@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_every_parameter_of_a_full_model_gets_a_gradient(attention, fusion):
    model = tiny(attention=attention, fusion=fusion, gate=True, grades=5, views="encode")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attention.out" in name:  # zero at the start, which hides what lies before it
                parameter.normal_()
    described = model(torch.rand(4, 3, 64, 64))
    assert described.grades.shape == (4, 5)
    weights = torch.arange(16.0)
    ((described.descriptor * weights).sum() + described.grades.pow(2).sum()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    ("backbone", "channels", "grid"),
    [
        ("test_resnet", 96, (2, 3)),
        ("test_vit", 64, (4, 6)),
        ("swin_s3_tiny_224", 768, (7, 7)),
        ("test_convnext", 64, (2, 3)),
    ],
)
def test_any_timm_backbone_gives_a_map(backbone, channels, grid):
    options = {"backbone": backbone, "attention": "mirror", "dimension": 8}
    model = DescriptorModel(**options).eval()
    x = torch.rand(2, 3, *((224, 224) if "swin" in backbone else (64, 96)))
    if "vit" in backbone:
        model.backbone.set_input_size(img_size=(64, 96))
    assert model.encode(x).shape == (2, channels, *grid)
    assert model(x).descriptor.shape == (2, 8)


def test_a_model_for_one_channel_takes_grey_images():
    model = tiny(in_channels=1).eval()
    assert model(torch.rand(2, 1, 64, 64)).descriptor.shape == (2, 16)


def test_a_green_model_sees_nothing_but_green():
    model = tiny(green=True).eval()
    image = torch.rand(2, 3, 64, 64)
    other = torch.rand(2, 3, 64, 64)
    other[:, 1] = image[:, 1]
    with torch.inference_mode():
        assert torch.equal(model(image).descriptor, model(other).descriptor)
        grey = image[:, 1:2].expand(-1, 3, -1, -1)
        assert torch.equal(model(image).descriptor, tiny_like(model)(grey).descriptor)


def tiny_like(model):
    other = tiny().eval()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_half_precision_gives_float32_descriptors(dtype):
    model = tiny(attention="mirror", grades=5).eval().to(dtype)
    described = model(torch.rand(1, 3, 64, 64).to(dtype))
    assert described.descriptor.dtype == torch.float32
    assert described.grades.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert tiny().eval()(torch.rand(1, 3, 64, 64)).descriptor.dtype == torch.float32


def model(stages=3, **options):
    torch.manual_seed(0)
    made = DescriptorModel("mobilenetv2_050", 32, **options).eval()
    made.freeze(stages)
    return made


@pytest.fixture
def images():
    return torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stages", [1, 3, 5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": "mirror", "views": "feature", "grades": 5},
        {"attention": "mirror", "views": "encode"},
        {"attention": "se", "in_channels": 1},
    ],
)
def test_describes_like_the_whole_model(images, stages, options):
    made = model(stages, **options)
    if options.get("attention") == "mirror":  # or the block is the identity and hides a mix-up
        torch.nn.init.normal_(made.attention.out_left_right.weight)
        torch.nn.init.normal_(made.attention.out_up_down.weight)
    trunk = Trunk(made)
    with torch.no_grad():
        whole, parts = made(images), trunk.describe(trunk(images))
    assert torch.allclose(whole.descriptor, parts.descriptor, atol=1e-6)
    if whole.grades is not None:
        assert torch.allclose(whole.grades, parts.grades, atol=1e-5)


def test_gives_the_same_gradient(images):
    grads = []
    for cut in (False, True):
        made = model().train()
        trunk = Trunk(made)
        described = trunk.describe(trunk(images)) if cut else made(images)
        described.descriptor[:, 0].sum().backward()
        grads.append([p.grad for p in made.parameters() if p.requires_grad])
    assert len(grads[0]) > 20
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_encoded_mirrors_are_kept_too(images):
    assert Trunk(model(attention="mirror", views="encode"))(images).shape[1] == 3
    assert Trunk(model(attention="mirror", views="feature"))(images).shape[1] == 1


def test_what_can_not_be_cut():
    with pytest.raises(ValueError, match="no frozen stage"):
        Trunk(model(0))
    with pytest.raises(ValueError, match="gate"):
        Trunk(model(2, gate=True))
