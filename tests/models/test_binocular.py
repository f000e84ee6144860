"""Both eyes, one eye, swapped eyes: shapes, gates and fusion, by hand and by property."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.models.binocular import FUSIONS, Answer, BinocularModel, CrossLook, Fuse, ResidualAttention, trunk
from foveola.models.resnet_v2 import ResNet50V2

SMALL = "mobilenetv2_035"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small(**settings):
    return BinocularModel(backbone=SMALL, blocks=1, width=32, feature=16, **settings).eval()


def test_shapes_of_the_papers_own():
    model = BinocularModel(blocks=1, width=256, feature=64).eval()
    with torch.inference_mode():
        said = model(torch.randn(1, 2, 3, 224, 224))
    assert said.person.shape == (1, 8)
    assert said.eyes.shape == (1, 2, 8)
    assert said.feature.shape == (1, 64)
    assert said.maps.shape == (1, 2, 256, 7, 7)  # in the place of stage 4


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("shared", [True, False])
def test_every_fusion_reads_and_learns(fusion, shared):
    model = small(fusion=fusion, shared=shared).train()
    said = model(torch.randn(3, 2, 3, 64, 64), torch.tensor([[1, 1], [1, 0], [0, 1]]).bool())
    (said.person.sum() + said.eyes.sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_a_missing_eye_holds_changes_nothing(fusion):
    model, images = small(fusion=fusion), torch.randn(2, 2, 3, 64, 64)
    if fusion == "cross":
        torch.nn.init.normal_(model.fuse.look.out.weight)
    present = torch.tensor([[True, False], [False, True]])
    other = images.clone()
    other[0, 1], other[1, 0] = 7.0, torch.randn(3, 64, 64)
    with torch.inference_mode():
        first, second = model(images, present), model(other, present)
        both = model(images)
    assert torch.equal(first.person, second.person)
    assert not torch.allclose(first.person, both.person)


@pytest.mark.parametrize("fusion", ["sum", "product", "cross"])
def test_swapped_eyes_are_the_same_person_where_fusion_is_symmetric(fusion):
    model, images = small(fusion=fusion), torch.randn(2, 2, 3, 64, 64)
    with torch.inference_mode():
        one, other = model(images), model(images.flip(1))
    assert torch.allclose(one.person, other.person, atol=1e-5)
    assert torch.allclose(one.eyes, other.eyes.flip(1), atol=1e-5)


def test_fusion_by_hand():
    # One channel, one position, and a mix that does nothing: what goes in is seen.
    maps = torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1, 1)
    both, right = torch.tensor([[True, True]]), torch.tensor([[False, True]])
    for kind, of_both, of_right in (("sum", 2.5, 3.0), ("product", 6.0, 3.0), ("cross", 2.5, 3.0)):
        fuse = Fuse(kind, 1, 1)
        fuse.mix = torch.nn.Identity()
        assert fuse(maps, both).item() == of_both
        assert fuse(maps, right).item() == of_right
    fuse = Fuse("concat", 1, 1)
    fuse.mix = torch.nn.Identity()
    torch.nn.init.constant_(fuse.absent, 9.0)
    assert fuse(maps, both).tolist() == [[2.0, 3.0]]
    assert fuse(maps, right).tolist() == [[9.0, 3.0]]


def test_residual_attention_by_loops():
    block = ResidualAttention(3, 4, reduction=2).eval()
    x = torch.randn(1, 3, 5, 5)
    u = block.branch(x)[0]
    squeezed, _, expanded = block.channel
    means = torch.stack([u[c].mean() for c in range(4)])
    hidden = (squeezed.weight[:, :, 0, 0] @ means + squeezed.bias).relu()
    gate = 1 / (1 + torch.exp(-(expanded.weight[:, :, 0, 0] @ hidden + expanded.bias)))
    u = torch.stack([gate[c] * u[c] for c in range(4)])
    seen = torch.stack([u.mean(0), u.max(0).values])
    padded = torch.nn.functional.pad(seen, (3, 3, 3, 3))
    kernel, shortcut = block.position.weight[0], block.shortcut(x)[0]
    out = torch.empty_like(u)
    for i in range(5):
        for j in range(5):
            s = 1 / (1 + torch.exp(-(padded[:, i : i + 7, j : j + 7] * kernel).sum()))
            out[:, i, j] = (s * u[:, i, j] + shortcut[:, i, j]).clamp(min=0)
    assert torch.allclose(block(x)[0], out, atol=1e-5)


def test_without_gates_it_is_a_plain_block():
    gated, plain = ResidualAttention(3, 4, 2), ResidualAttention(3, 4, 2, gates=False)
    missing = set(gated.state_dict()) - set(plain.state_dict())
    assert {name.split(".")[0] for name in missing} == {"channel", "position"}
    assert plain(torch.randn(2, 3, 6, 6)).shape == (2, 4, 3, 3)


def test_cross_attention_starts_as_the_identity_and_looks_at_the_other_eye():
    look, maps = CrossLook(8), torch.randn(2, 2, 8, 3, 3)
    both = torch.ones(2, 2, dtype=torch.bool)
    assert torch.equal(look(maps, both), maps)
    torch.nn.init.normal_(look.out.weight)
    changed = maps.clone()
    changed[:, 1] += 1.0
    assert not torch.allclose(look(maps, both)[:, 0], look(changed, both)[:, 0])
    one = torch.tensor([[True, False], [True, True]])
    assert torch.equal(look(maps, one)[0], maps[0])


def test_gluons_layers_are_named_and_all_used(tmp_path):
    model = ResNet50V2()
    names = model._gluon_names()
    assert names["stages.1.0.shortcut.weight"] == "stage2_conv3_weight"
    assert names["stages.1.1.conv1.weight"] == "stage2_conv4_weight"
    assert names["stages.2.5.norm3.running_var"] == "stage3_batchnorm17_running_var"
    given = {theirs: torch.randn_like(model.state_dict()[ours]) for ours, theirs in names.items()}
    torch.save(given, tmp_path / "all.pth")
    model.load_gluon(tmp_path / "all.pth")
    for ours, theirs in names.items():
        assert torch.equal(model.state_dict()[ours], given[theirs])
    del given["conv0_weight"]
    torch.save(given, tmp_path / "less.pth")
    with pytest.raises(ValueError, match=r"1 weights are missing, such as .'conv0_weight'"):
        model.load_gluon(tmp_path / "less.pth")
    given["conv0_weight"] = torch.zeros(2)
    torch.save(given, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"conv0_weight is \(2,\); expected \(64, 3, 7, 7\)"):
        model.load_gluon(tmp_path / "odd.pth")


def test_published_weights_know_what_they_are_given(shared_data):
    # Every BatchNorm kept the statistics of what came in: a layer in the wrong place shows here.
    model = ResNet50V2().eval()
    model.load_gluon(shared_data / "weights/resnet50v2_stages1-3_imagenet_fp16.pth")
    files = sorted((Path(shared_data) / "chase_db1").rglob("*.jpg"))[:4]
    seen = np.stack([prepare(decode(file), Contract(size=224)) for file in files])
    pixels = torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (pixels - mean[:, None, None]) / std[:, None, None]
    spreads = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d) and name != "input":
            module.register_forward_hook(
                lambda norm, given, _, name=name: spreads.update(
                    {
                        name: ((given[0] - norm.running_mean[:, None, None]) / norm.running_var[:, None, None].sqrt())
                        .std()
                        .item()
                    }
                )
            )
    with torch.inference_mode():
        assert model(images).shape == (4, 1024, 14, 14)
    assert len(spreads) == 3 * 13 + 2
    assert all(0.5 < spread < 2 for spread in spreads.values()), spreads


def test_timms_last_stage_is_neither_kept_nor_run():
    body = trunk(SMALL)
    whole = timm.create_model(SMALL, num_classes=0)
    assert sum(p.numel() for p in body.parameters()) < 0.5 * sum(p.numel() for p in whole.parameters())
    assert body.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, body.channels, 4, 4)


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="fusion is 'add'; expected one of concat"):
        small(fusion="add")
    with pytest.raises(ValueError, match="blocks is 0"):
        BinocularModel(backbone=SMALL, blocks=0)


EYES = torch.tensor([[[2.0, -2.0], [-1.0, 1.0]], [[2.0, -2.0], [-1.0, 1.0]]])
PERSON = torch.tensor([[3.0, -3.0], [1.0, 0.0]])
PRESENT = torch.tensor([[True, True], [True, False]])


def test_each_label_has_a_probability_of_its_own():
    person, eyes = Answer("ND")(PERSON, EYES, PRESENT)
    assert torch.allclose(person, PERSON.sigmoid())
    assert torch.allclose(eyes, EYES.sigmoid())


def test_a_monocular_reader_is_as_normal_as_the_worse_eye():
    person, _ = Answer("ND", monocular=True)(PERSON, EYES, PRESENT)
    assert torch.allclose(person, torch.tensor([[-1.0, 1.0], [2.0, -2.0]]).sigmoid())


def test_a_softmax_is_shared_by_all_labels():
    person, _ = Answer("ND", softmax=True)(PERSON, EYES, PRESENT)
    assert torch.allclose(person, PERSON.softmax(1))
    assert torch.allclose(person.sum(1), torch.ones(2))


def test_logits_are_divided_by_the_temperatures():
    answer = Answer("ND")
    answer.set_temperatures(2.0, 4.0)
    person, eyes = answer(PERSON, EYES, PRESENT)
    assert torch.allclose(person, (PERSON / 2).sigmoid())
    assert torch.allclose(eyes, (EYES / 4).sigmoid())


def test_the_evidence_of_an_eye_sums_to_its_logit():
    torch.manual_seed(0)
    model = BinocularModel(3, "mobilenetv2_035", blocks=1, width=16, feature=8).eval()
    answer = Answer("NDG")
    answer.set_temperatures(1.0, 2.0)
    with torch.no_grad():
        said = model(torch.randn(2, 2, 3, 96, 96))
        answered = answer.answer(said, model.eye.weight, torch.ones(2, 2, dtype=torch.bool))
        found = answered.evidence.mean((3, 4)) + model.eye.bias / 2
    assert answered.evidence.shape == (2, 2, 3, 3, 3)
    assert torch.allclose(found, said.eyes / 2, atol=1e-5)
    assert torch.allclose(answered.eyes, (said.eyes / 2).sigmoid())
