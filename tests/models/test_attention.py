"""The attention blocks against their equations, written out as loops over positions."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from foveola.models.attention import (
    ATTENTIONS,
    CBAM,
    AxialAttention,
    MirrorAttention,
    SelfAttention,
    SpatialGate,
    SqueezeExcitation,
    _affinity,
)
from foveola.models.descriptor import DescriptorModel

C, H, W = 6, 3, 4


def maps(seed=0, batch=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, C, H, W, generator=generator).to(dtype) for _ in range(3)]


def opened(block, seed=1):
    """A block whose output projections are no longer zero, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        for module in block.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return block.eval()


def columns(x):
    """(C, h, w) -> a list of N vectors."""
    return list(x.flatten(1).T)


def softmax_of(query, keys):
    """Weights of keys for one query, from a loop."""
    logits = torch.stack([query @ key / len(query) ** 0.5 for key in keys])
    return logits.exp() / logits.exp().sum()


def mirror_by_loops(block, original, mirrored, key, value, out, aggregate):
    """Equations 1.4 to 1.8 for one image and one mirror, position by position."""
    p_a = columns(block.query(original[None])[0])
    p_m = columns(key(mirrored[None])[0])
    g = columns(value(original[None])[0])
    a = [softmax_of(p_m[i], p_a) for i in range(H * W)]  # a[i][j]
    if aggregate == "column":
        z = [sum(g[i] * a[i][j] for i in range(H * W)) for j in range(H * W)]
    else:
        z = [sum(g[j] * a[i][j] for j in range(H * W)) for i in range(H * W)]
    z = torch.stack(z, 1).reshape(1, -1, H, W)
    return (out(z) + original)[0]


@pytest.mark.parametrize("aggregate", ["column", "row"])
@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_mirror_attention_follows_its_equations(aggregate, shared):
    block = opened(MirrorAttention(C, aggregate=aggregate, shared_keys=shared))
    original, left_right, up_down = maps()
    y_h, y_v = block(original, left_right, up_down)
    for i in range(2):
        expected_h = mirror_by_loops(
            block, original[i], left_right[i], block.key, block.value_left_right, block.out_left_right, aggregate
        )
        expected_v = mirror_by_loops(
            block,
            original[i],
            up_down[i],
            block.key if shared else block.key_up_down,
            block.value_up_down,
            block.out_up_down,
            aggregate,
        )
        torch.testing.assert_close(y_h[i], expected_h, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(y_v[i], expected_v, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_self_attention_follows_its_equation():
    block = opened(SelfAttention(C))
    x = maps()[0]
    q, k, g = (columns(part(x[:1])[0]) for part in (block.query, block.key, block.value))
    z = [sum(w * v for w, v in zip(softmax_of(q[i], k), g, strict=True)) for i in range(H * W)]
    expected = x[:1] + block.out(torch.stack(z, 1).reshape(1, -1, H, W))
    torch.testing.assert_close(block.attend(x)[:1], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_axial_attention_mixes_rows_then_columns():
    block = opened(AxialAttention(C))
    x = maps()[0]
    rows = torch.stack([block.along_rows.attend(x[:, :, i : i + 1])[:, :, 0] for i in range(H)], 2)
    expected = torch.stack(
        [
            block.along_columns.attend(rows[..., j, None].mT)[:, :, 0]  # a column as one row
            for j in range(W)
        ],
        3,
    )
    torch.testing.assert_close(block.attend(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["none", "mirror", "self", "axial"])
def test_a_new_block_is_exactly_the_identity(name):
    original, left_right, up_down = maps()
    for out in ATTENTIONS[name](C).train()(original, left_right, up_down):
        assert torch.equal(out, original)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_parameter_of_every_block_gets_a_gradient(name):
    # in evaluation mode: a bias before a BatchNorm in training has no effect by construction
    block = opened(ATTENTIONS[name](C), seed=3)
    x = [m.requires_grad_() for m in maps()]
    out = block(*x)
    assert len(out) == block.outputs
    torch.cat(out).pow(2).sum().backward()
    names = [n for n, p in block.named_parameters() if p.grad is None or not p.grad.any()]
    assert names == []


def test_rows_of_the_affinity_sum_to_one_so_what_is_received_is_one_on_average():
    block = opened(MirrorAttention(C))
    for received in block.received(*maps()):
        assert received.shape == (2, H, W)
        assert received.mean((1, 2)).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
        assert received.std() > 0.01


@pytest.mark.parametrize(("aggregate", "learns"), [("column", False), ("row", True)])
def test_under_an_average_the_affinities_learn_by_row_only(aggregate, learns):
    # Rows of A sum to 1, so the sum over all columns of G A is that of G, whatever A is: with the
    # authors' aggregation attention shows only through a pooling that is no average.
    block = opened(MirrorAttention(C, aggregate=aggregate))
    torch.cat(block(*maps()), 1).mean((-2, -1)).square().sum().backward()
    gradient = block.query[0].weight.grad.abs().max()
    assert (gradient > 1e-4) == learns
    assert block.value_left_right.weight.grad.abs().max() > 1e-2


def test_a_symmetric_map_is_its_own_mirror_and_row_attention_is_then_self_attention():
    block = opened(MirrorAttention(C, aggregate="row"))
    x = maps()[0]
    symmetric = x + x.flip(-1)
    y_h, _ = block(symmetric, symmetric.flip(-1), symmetric.flip(-2))
    as_self = SelfAttention(C)
    # the mirror's positions ask, the image's answer
    as_self.query, as_self.key = block.key, block.query
    as_self.value, as_self.out = block.value_left_right, block.out_left_right
    torch.testing.assert_close(y_h, as_self.attend(symmetric))
    lopsided, _ = block(x, x.flip(-1), x.flip(-2))
    assert not torch.allclose(lopsided, as_self.attend(x), atol=1e-3)


def test_the_vertical_branch_sees_the_vertical_mirror_and_only_it():
    block = opened(MirrorAttention(C))
    original, left_right, up_down = maps()
    other = maps(seed=9)[0]
    y_h, y_v = block(original, left_right, up_down)
    changed_h, changed_v = block(original, left_right, other)
    assert torch.equal(y_h, changed_h)
    assert not torch.allclose(y_v, changed_v)


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (16, 16)])
def test_blocks_take_maps_of_any_size(name, size):
    x = torch.randn(1, C, *size)
    for out in ATTENTIONS[name](C).eval()(x, x.flip(-1), x.flip(-2)):
        assert out.shape == x.shape


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_full_and_does_not_overflow(name, dtype):
    block = opened(ATTENTIONS[name](C))
    full = block(*maps())
    half = block.to(dtype)(*maps(dtype=dtype))
    for a, b in zip(full, half, strict=True):
        assert b.dtype == dtype
        torch.testing.assert_close(a, b.float(), atol=0.2, rtol=0.1)


def test_large_maps_do_not_overflow_in_float16():
    large = [m * 3000 for m in maps(dtype=torch.float16)]  # products are beyond 65504
    for out in MirrorAttention(C).half().eval()(*large):
        assert out.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_affinity_is_that_of_single_precision_under_autocast(dtype):
    generator = torch.Generator().manual_seed(0)
    query, key = 5 * torch.randn(2, 2, C, H, W, generator=generator)
    expected = _affinity(query, key, 1.0)
    with torch.autocast("cpu", dtype):
        assert torch.equal(_affinity(query, key, 1.0), expected)
        # products of 4e6 are beyond float16; each position looks at itself
        large = torch.eye(H * W)[None].reshape(1, H * W, H, W) * 2000
        assert torch.equal(_affinity(large, large, 1.0)[0], torch.eye(H * W))


def identical(*convolutions):
    """Convolutions of one position that hand on what they get."""
    with torch.no_grad():
        for conv in convolutions:
            conv.weight.copy_(torch.eye(conv.weight.shape[0])[:, :, None, None])
            conv.bias.zero_()


def test_cbam_by_hand():
    block = CBAM(2, reduction=1)
    identical(block.channel[0], block.channel[2])
    with torch.no_grad():
        block.spatial.weight.zero_()
        block.spatial.weight[0, 0, 3, 3] = 1.0  # the mean here
        block.spatial.weight[0, 1, 3, 3] = 2.0  # and the maximum
    x = torch.tensor([[[[0.5, 1.5]], [[0.0, 4.0]]]])  # means 1 2, maxima 1.5 4
    gated = x * torch.tensor([2.5, 6.0]).sigmoid()[:, None, None]
    logits = gated.mean(1) + 2 * gated.amax(1)
    (out,) = block(x, x, x)
    torch.testing.assert_close(out, gated * logits.sigmoid())


def test_squeeze_and_excitation_by_hand():
    block = SqueezeExcitation(2, reduction=1)
    identical(block.gate[0], block.gate[2])
    x = torch.tensor([[[[0.5, 1.5]], [[0.0, 4.0]]]])  # means 1 2
    (out,) = block(x, x, x)
    torch.testing.assert_close(out, x * torch.tensor([1.0, 2.0]).sigmoid()[:, None, None])


def test_the_spatial_gate_by_hand():
    gate = SpatialGate()
    with torch.no_grad():
        gate.conv.weight.zero_()
        gate.conv.weight[0, 0, 1, 1] = 1.0  # the mean here
        gate.conv.weight[0, 1, 1, 2] = 2.0  # the maximum one to the right
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, 6.0]]]])  # means 2 4, maxima 3 6
    logits = torch.tensor([2 + 2 * 6.0, 4.0])
    torch.testing.assert_close(gate(x), x * logits.sigmoid())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MirrorAttention(C, aggregate="rows"), "aggregate is 'rows'"),
        (lambda: MirrorAttention(C, reduction=0), "reduction is 0; expected 1 to 6"),
        (lambda: SelfAttention(C, reduction=7), "reduction is 7"),
        (lambda: DescriptorModel(attention="miror"), "attention is 'miror'; expected one of none"),
        (lambda: DescriptorModel(views="both"), "views is 'both'"),
        (lambda: DescriptorModel(fusion="max"), "fusion is 'max'"),
        (lambda: DescriptorModel(pooling="max"), "pooling is 'max'; expected one of gem, average"),
        (lambda: DescriptorModel(attention="mirror", dimension=5), "dimension is 5; expected an"),
    ],
)
def test_wrong_settings_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_map_alone_gives_a_map_as_a_plain_layer_does(name):
    block = opened(ATTENTIONS[name](C))
    x = maps()[0]
    alone = block(x)
    assert alone.shape == x.shape
    torch.testing.assert_close(alone, torch.stack(block(x, x.flip(-1), x.flip(-2))).mean(0))
    assert torch.equal(torch.nn.Sequential(block)(x), alone)


def test_one_mirror_without_the_other_is_told():
    x = maps()[0]
    with pytest.raises(ValueError, match="both mirrors, or the original alone"):
        MirrorAttention(C)(x, x)


# Training turns mirror attention towards what tells the classes apart: on made-up feature maps whose
# answer is known. What a block does on phantoms, where it has a backbone to lean on, is measured by
# benchmarks/mirror_on_lesions.py and told in the manual.
CHANNELS, SIDE = 16, 6


def made_maps(number, generator):
    """Noise with something bright on both sides alike, and in half of them a lesion on one side.

    Returns:
        (B, C, 6, 6) maps, (B,) whether there is a lesion, (B, 6, 6) bool, where.
    """
    x = 0.3 * torch.randn(number, CHANNELS, SIDE, SIDE, generator=generator)
    rows = torch.arange(number)
    row, column = torch.randint(0, SIDE, (2, number), generator=generator)
    for side in (column, SIDE - 1 - column):
        x[rows, 0, row, side] += 3.0
    sick = rows % 2
    where = torch.zeros(number, SIDE, SIDE, dtype=torch.bool)
    row, column = torch.randint(0, SIDE, (2, number), generator=generator)
    where[rows, row, column] = sick.bool()
    # the mean over positions tells nothing: a healthy map has as much of it, spread out
    x[:, 1] += 3.0 * where + 3.0 * (1 - sick)[:, None, None] / SIDE**2
    return x, sick, where


def weight_on_lesions(block, x, where):
    """Attention a lesion's position receives, 1 being the average position."""
    with torch.no_grad():
        received = torch.stack(block.eval().received(x, x.flip(-1), x.flip(-2))).mean(0)
    return (received[where].mean() / received.mean()).item()


def test_a_trained_block_looks_at_lesions_more_than_an_untrained_one():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    block, head = MirrorAttention(CHANNELS, aggregate="row"), nn.Linear(2 * CHANNELS, 2)
    asked, _, where = made_maps(400, generator)
    before = weight_on_lesions(block, asked, where)
    optimizer = torch.optim.Adam([*block.parameters(), *head.parameters()], 3e-3)
    block.train()
    for _ in range(300):
        x, sick, _ = made_maps(64, generator)
        y = block(x, x.flip(-1), x.flip(-2))
        # the head sees only what the block changed, so that the block has to look
        changed = torch.cat([y[0] - x, y[1] - x], 1).mean((-2, -1))
        loss = cross_entropy(head(changed), sick)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert before < 2
    assert weight_on_lesions(block, asked, where) > 5 * before  # 15 times when this was written
