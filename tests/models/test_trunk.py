import pytest
import torch

from foveola.models.descriptor import DescriptorModel
from foveola.models.trunk import Trunk


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
