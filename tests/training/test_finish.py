"""What is fitted after training: principal axes."""

import numpy as np
import pytest
import torch

from foveola.errors import ConfigError
from foveola.models.descriptor import DescriptorModel
from foveola.training.config import ModelConfig
from foveola.training.finish import principal_axes


def test_axes_keep_the_cosines_of_what_lies_in_a_plane():
    rng = np.random.default_rng(0)
    features = torch.tensor(rng.normal(3, 1, (40, 2)) @ rng.normal(size=(2, 7)))
    axes = principal_axes(features, 2).double()
    assert torch.allclose(axes @ axes.T, torch.eye(2, dtype=torch.float64), atol=1e-6)

    def cosines(x):
        unit = torch.nn.functional.normalize(x, dim=1)
        return unit @ unit.T

    assert torch.allclose(cosines(features @ axes.T), cosines(features), atol=1e-6)


def test_the_first_axis_by_hand():
    # two of three unit vectors along x, one along y; their lengths count for nothing
    features = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 100.0]])
    assert principal_axes(features, 1).abs().tolist() == [pytest.approx([1.0, 0.0])]


def test_too_few_images_for_the_axes_are_refused():
    with pytest.raises(ConfigError, match="reduce is 4, but there are 3 images"):
        principal_axes(torch.eye(3, 8), 4)


def test_a_projected_model_describes_along_the_axes():
    model = DescriptorModel("mobilenetv2_050", None).eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pooled = model(x).pooled
        axes = torch.linalg.qr(torch.randn(1280, 6)).Q.T
        model.project(axes)
        found = model(x).descriptor
    expected = torch.nn.functional.normalize(pooled @ axes.T, dim=1)
    assert model.dimension == 6
    assert torch.allclose(found, expected, atol=1e-5)


def test_axes_of_another_width_and_two_halves_are_refused():
    model = DescriptorModel("mobilenetv2_050", None)
    with pytest.raises(ValueError, match=r"axes are \(2, 3\); expected \(D, 1280\)"):
        model.project(torch.zeros(2, 3))
    halves = DescriptorModel("mobilenetv2_050", None, attention="mirror")
    with pytest.raises(ValueError, match="axes are"):
        halves.project(torch.zeros(2, 2560))


@pytest.mark.parametrize(
    "settings", [{"reduce": 8}, {"reduce": 1, "dimension": 0}, {"reduce": 8, "dimension": 0, "attention": "mirror"}]
)
def test_reducing_what_is_projected_already_is_refused(settings):
    with pytest.raises(ValueError, match="reduce is"):
        ModelConfig(**settings)
