"""The map sums to the cosine: by hand, and on models with each attention."""

import numpy as np
import pytest
import torch

from foveola.explain import Head, similarity_map
from foveola.models.attention import ATTENTIONS
from foveola.models.descriptor import DescriptorModel, GeM, attention_maps, head_arrays


def test_the_average_by_hand():
    # Channels 1 and 0 over two positions: x = (2, 4) and (1, 1), so y = (3, 1). W doubles the
    # first: q = (6, 1). Against o = (0.6, 0.8): position 0 gives 2*.6*2/2 + .8*1/2 = 1.6, position
    # 1 2.4 + 0.4 = 2.8, together 4.4 = q . o, all over |q| = sqrt 37.
    maps = np.array([[[2.0, 4.0]], [[1.0, 1.0]]])
    got = similarity_map(maps, [0.6, 0.8], Head(p=1, weight=[[2, 0], [0, 1]]))
    assert got.contributions == pytest.approx(np.array([[1.6, 2.8]]) / np.sqrt(37))
    assert got.constant == 0
    assert got.cosine == pytest.approx(4.4 / np.sqrt(37))


def test_gem_shares_by_powers():
    # p = 3: of 1 and 2 the second has 8 of 9 parts of the pooled value; the bias is set apart.
    got = similarity_map([[[1.0, 2.0]]], [-1.0], Head(p=3, bias=[-10.0], weight=[[1.0]]))
    length = 10 - 4.5 ** (1 / 3)
    assert got.contributions == pytest.approx(-np.array([[1, 8]]) / 9 * 4.5 ** (1 / 3) / length)
    assert got.constant == pytest.approx(10 / length)
    assert got.cosine == pytest.approx(1)


def test_no_projection_and_negative_activations():
    # a negative value counts as eps: here as much as a quarter of the other
    got = similarity_map([[[-5.0, 2.0]], [[0.5, 0.5]]], [1.0, 0.0], Head(p=1, eps=0.5))
    assert got.contributions == pytest.approx(np.array([[0.25, 1.0]]) / np.hypot(1.25, 0.5))


def test_the_plain_average_takes_negative_activations_as_they_are():
    # y = (-5 + 2) / 2; position 0 gives -2.5 of it, position 1 1.0, over |q| = 1.5
    got = similarity_map([[[-5.0, 2.0]]], [-1.0], Head(p=None))
    assert got.contributions == pytest.approx(np.array([[2.5, -1.0]]) / 1.5)
    assert got.cosine == pytest.approx(1)


def test_a_large_exponent_does_not_overflow():
    got = similarity_map([[[300.0, 299.0]]], [1.0], Head(p=400))
    assert got.cosine == pytest.approx(1)
    assert got.contributions[0, 0] > 0.7


def model(attention="none", p=3.0, **changes):
    """Weights at random throughout: the zero start of attention would hide the halves."""
    torch.manual_seed(3)
    made = DescriptorModel("mobilenetv2_050", attention=attention, **{"dimension": 24, **changes})
    for parameter in (*made.attention.parameters(), *made.projection.parameters()):
        torch.nn.init.normal_(parameter, std=0.02)
    with torch.no_grad():
        if isinstance(made.pool, GeM):
            made.pool.p.fill_(p)
        if isinstance(made.projection, torch.nn.Linear):
            made.projection.bias.fill_(0.5)
    return made.eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(5)) * 4 - 2


CASES = {
    **{name: {"attention": name} for name in ATTENTIONS},
    "exponent 1": {"p": 1.0},
    "average": {"pooling": "average"},
    "another exponent": {"attention": "se", "p": 4.7},
    "mirror encode": {"attention": "mirror", "views": "encode", "p": 2.2},
    "mirror sum": {"attention": "mirror", "fusion": "sum"},
    "mirror unprojected": {"attention": "mirror", "dimension": None},
    "mirror unprojected sum": {"attention": "mirror", "dimension": None, "fusion": "sum"},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_the_map_sums_to_the_models_cosine(changes, images):
    made = model(**changes)
    with torch.no_grad():
        first, second = made(images).descriptor.numpy()
        maps = np.stack([each[0].numpy() for each in made.attend(images[:1])])
    got = similarity_map(maps, second, Head(**head_arrays(made)))
    assert got.contributions.shape == (3, 4)
    assert got.cosine == pytest.approx(float(first @ second), abs=2e-6)
    alone = similarity_map(maps, first, Head(**head_arrays(made)))
    assert alone.cosine == pytest.approx(1, abs=2e-6)
    if changes.get("dimension", 24):
        assert abs(got.constant) > 1e-3  # the bias was there to be told apart


def test_both_halves_of_the_mirror_are_in_the_map(images):
    made = model("mirror")
    with torch.no_grad():
        maps = np.stack([each[0].numpy() for each in made.attend(images[:1])])
        other = made(images).descriptor[1].numpy()
    head = Head(**head_arrays(made))
    whole = similarity_map(maps, other, head).contributions
    for half in (0, 1):
        kept = np.where(np.arange(24) // 12 == half, other, 0)
        part = similarity_map(maps, kept, head).contributions
        assert np.abs(part).max() > 1e-4
        whole = whole - part
    assert np.abs(whole).max() < 1e-12


def test_an_identity_adds_nothing_and_gains_nothing(images):
    torch.manual_seed(0)
    made = DescriptorModel("mobilenetv2_050", 24, attention="mirror").eval()
    found = attention_maps(made, images)
    assert set(found) == {"added", "gain", "received"}
    assert found["added"].abs().max() == 0
    assert torch.allclose(found["gain"], torch.ones(2, 3, 4), atol=1e-6)
    assert found["received"].mean((1, 2)).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_what_attention_adds_is_a_loop_over_positions(images):
    made = model("mirror")
    with torch.no_grad():
        before = made.maps(images)[0]
        after = made.attend(images)
    found = attention_maps(made, images)
    for y in range(3):
        for x in range(4):
            old = before[1, :, y, x]
            added = [float((each[1, :, y, x] - old).norm()) for each in after]
            gain = [float(each[1, :, y, x].norm() / old.norm()) for each in after]
            assert found["added"][1, y, x].item() == pytest.approx(np.mean(added), rel=1e-4)
            assert found["gain"][1, y, x].item() == pytest.approx(np.mean(gain), rel=1e-4)


def test_only_mirrors_are_received(images):
    assert set(attention_maps(model("cbam"), images)) == {"added", "gain"}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: similarity_map(np.ones((2, 2)), [1.0], Head()), "expected maps"),
        (lambda: similarity_map(np.ones((2, 3, 3)), [1.0], Head()), r"descriptor \(2,\)"),
        (lambda: similarity_map(np.ones((2, 3, 3)), [1.0], Head(weight=[[1.0]])), "2 channels"),
        (lambda: similarity_map(np.ones((2, 2, 3, 3)), [1.0, 0.0], Head()), r"descriptor \(4,\)"),
        (lambda: Head(p=0), "expected both above 0"),
        (lambda: Head(fusion="mean"), "expected 'concat' or 'sum'"),
    ],
)
def test_what_does_not_fit_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
