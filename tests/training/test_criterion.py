"""The losses of a run, by name: each trains, and what is logged is what it says."""

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
import torch

from foveola.images.fundus import Contract
from foveola.losses import ada_triplet_loss, fine_triplet_hinge_loss, fine_triplet_loss, triplet_loss
from foveola.models.attention import ATTENTIONS
from foveola.models.descriptor import DescriptorModel
from foveola.training.config import BatchConfig, DataConfig, LossConfig, LossName, ModelConfig, TrainConfig
from foveola.training.descriptor import DescriptorTraining
from foveola.training.losses import Criterion

GENERATOR = torch.Generator().manual_seed(4)
DESCRIPTORS = torch.nn.functional.normalize(torch.randn(12, 8, generator=GENERATOR), dim=1)
TARGETS = torch.arange(3).repeat_interleave(4)


def criterion(**settings):
    return Criterion(LossConfig(**settings), labels=3, dimension=8)


@pytest.mark.parametrize("name", [n for n in get_args(LossName) if n != "none"])
def test_every_name_is_a_loss_that_pulls_descriptors_together(name):
    torch.manual_seed(0)  # of the proxies
    loss = criterion(name=name, proxy_weight=0)
    e = DESCRIPTORS.clone().requires_grad_()
    # proxies slowly, else they come to the descriptors
    groups = [{"params": [e]}, {"params": list(loss.parameters()), "lr": 0.005}]
    optimizer = torch.optim.Adam([g for g in groups if g["params"]], lr=0.05)
    before = loss(e, TARGETS, None, None)[name].item()
    for _ in range(60):
        optimizer.zero_grad()
        loss(e, TARGETS, None, None)[name].backward()
        optimizer.step()
    assert loss(e, TARGETS, None, None)[name].item() < before
    state = loss.state(e, TARGETS)
    assert state["similarity/positive"] > state["similarity/negative"] + 0.3


@pytest.mark.parametrize("name", ["arcface", "soft_triple"])
def test_proxies_of_a_loss_are_trained(name):
    # in the AdaTriplet paper's code they were left out of the optimiser (docs/explanation/methods.md, section 2)
    config = TrainConfig(
        name="x",
        data=DataConfig(manifests=("m",)),
        model=ModelConfig(dimension=8),
        loss=LossConfig(name=name, proxy_weight=0),
    )
    model = DescriptorModel("mobilenetv2_050", 8)
    loss = Criterion(config.loss, labels=3, dimension=model.dimension, width=model.width)
    module = DescriptorTraining(config, model, loss, Contract(mean=(0.5,) * 3, std=(0.2,) * 3), steps=10)
    proxies = {id(p) for p in module.criterion.metric.parameters()}
    assert proxies
    groups = module.configure_optimizers()["optimizer"].param_groups
    (of,) = [g for g in groups if proxies & {id(p) for p in g["params"]}]
    assert proxies == {id(p) for p in of["params"]}


def test_parts_are_weighted_and_named():
    loss = criterion(weight=2.0, margin=0.3, proxy_weight=0.5, grade_weight=3.0)
    logits = torch.zeros(12, 5)
    grades = torch.tensor([0, 1, -1, 4] * 3)
    parts = loss(DESCRIPTORS, TARGETS, logits, grades)
    assert set(parts) == {"triplet", "proxy", "grade"}
    expected = 2 * triplet_loss(DESCRIPTORS, TARGETS, margin=0.3)
    assert parts["triplet"].item() == pytest.approx(expected.item())
    assert parts["grade"].item() == pytest.approx(3 * torch.tensor(5.0).log().item())


def test_a_batch_without_a_grade_costs_nothing_and_backpropagates():
    loss = criterion(grade_weight=1.0)
    logits = torch.zeros(12, 5, requires_grad=True)
    loss(DESCRIPTORS, TARGETS, logits, torch.full((12,), -1))["grade"].backward()
    assert not logits.grad.any()


def with_head(**settings):
    """A head that gives the first of three labels twice the odds, whatever the features."""
    loss = Criterion(
        LossConfig(name="none", proxy_weight=0, label_weight=2.0, **settings), labels=3, dimension=8, width=5
    )
    with torch.no_grad():
        loss.head.linear.weight.zero_()
        loss.head.linear.bias.copy_(torch.tensor([2.0, 1.0, 1.0]).log())
    return loss


@pytest.mark.parametrize(("smoothing", "expected"), [(0.0, 1.0), (0.3, 1.2)])
def test_the_label_head_is_a_smoothed_cross_entropy(smoothing, expected):
    # p = 1/2, 1/4, 1/4; smoothing 0.3 asks for 0.8, 0.1, 0.1: 0.8 log 2 + 0.2 log 4 = 1.2 log 2
    loss = with_head(smoothing=smoothing)
    parts = loss(torch.zeros(4, 8), torch.zeros(4, dtype=torch.long), None, None, torch.ones(4, 5))
    assert set(parts) == {"label"}
    assert parts["label"].item() == pytest.approx(2 * expected * torch.tensor(2.0).log().item())


@pytest.mark.parametrize(("smoothing", "wanted"), [(0.0, 1.0), (0.2, 0.9)])
def test_sets_of_findings_have_a_binary_cross_entropy_each(smoothing, wanted):
    loss = with_head(smoothing=smoothing)
    sets = torch.ones(4, 3, dtype=torch.bool)
    value = loss(torch.zeros(4, 8), sets, None, None, torch.ones(4, 5))["label"].item()
    p = torch.tensor([2 / 3, 1 / 2, 1 / 2])  # the logits are log 2, 0, 0
    expected = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean().item()
    assert value == pytest.approx(2 * expected)


def test_the_label_head_drops_features_while_it_trains_alone():
    loss = with_head(dropout=0.5)
    with torch.no_grad():
        loss.head.linear.weight[0] = 1.0

    def value():
        return loss(DESCRIPTORS, TARGETS, None, None, torch.ones(12, 5))["label"].item()

    loss.train()
    assert value() != value()
    loss.eval()
    assert value() == value()


def test_findings_that_nobody_told_cost_nothing():
    loss = Criterion(
        LossConfig(name="none", proxy_weight=0, findings_weight=0.5), labels=3, dimension=8, width=5, findings=2
    )
    with torch.no_grad():
        loss.findings.linear.weight.zero_()
        loss.findings.linear.bias.copy_(torch.tensor([3.0, 1.0]).log())  # p = 3/4, 1/2
    told = torch.tensor([[1, -1], [0, 1], [-1, -1]])
    parts = loss(torch.zeros(3, 8), torch.zeros(3), None, None, torch.ones(3, 5), told)
    p = torch.tensor([3 / 4, 1 / 4, 1 / 2])  # of what is so: there, not there, there
    assert set(parts) == {"findings"}
    assert parts["findings"].item() == pytest.approx(0.5 * -p.log().mean().item())
    nothing = loss(torch.zeros(1, 8), torch.zeros(1), None, None, torch.ones(1, 5), told[2:])
    assert nothing["findings"].item() == 0


def test_auto_margin_takes_over_after_the_first_epoch():
    loss = criterion(name="ada_triplet", auto_margin=True, proxy_weight=0).train()
    first = loss(DESCRIPTORS, TARGETS, None, None)["ada_triplet"].item()
    assert first == pytest.approx(ada_triplet_loss(DESCRIPTORS, TARGETS).item())
    assert loss.state(DESCRIPTORS, TARGETS)["margin"] == 0.25
    loss.auto.step()
    margin, beta = loss.auto.margin, loss.auto.beta
    assert beta > 0.3
    assert loss.state(DESCRIPTORS, TARGETS)["beta"] == beta
    second = loss(DESCRIPTORS, TARGETS, None, None)["ada_triplet"].item()
    expected = ada_triplet_loss(DESCRIPTORS, TARGETS, margin=margin, beta=beta)
    assert second == pytest.approx(expected.item())


def test_auto_margin_moves_the_plain_triplets_margin_too():
    loss = criterion(name="triplet", auto_margin=True, margin=0.5, proxy_weight=0).train()
    value = loss(DESCRIPTORS, TARGETS, None, None)["triplet"].item()
    assert value == pytest.approx(triplet_loss(DESCRIPTORS, TARGETS, margin=0.5).item())
    loss.auto.step()
    assert loss.margin != 0.5


# For each setting the losses that have it, and a value other than the default.
PLAIN = {"proxy_weight": 0.0}
HEADS = {"label": {"label_weight": 1.0}, "findings": {"findings_weight": 1.0}}
WITH_MARGIN = (
    "triplet",
    "ada_triplet",
    "fine_triplet",
    "fine_triplet_hinge",
    "contrastive",
    "circle",
    "arcface",
    "soft_triple",
)
AUTO = [{"name": name, "auto_margin": True} for name in ("triplet", "ada_triplet")]
SETTINGS = {
    "name": [({}, "circle")],
    "weight": [({"name": name}, 2.0) for name in get_args(LossName) if name != "none"],
    "margin": [({"name": name}, 0.6) for name in WITH_MARGIN] + [(auto, 0.6) for auto in AUTO],
    "mining": [({"name": name}, "hard") for name in ("triplet", "ada_triplet")] + [(auto, "hard") for auto in AUTO],
    "beta": [({"name": "ada_triplet"}, 0.2), (AUTO[1], 0.2)],
    "scale": [({"name": "fine_triplet"}, 2.0)],
    "symmetric": [({"name": "fine_triplet"}, True)],
    "auto_margin": [({"name": name}, True) for name in ("triplet", "ada_triplet")],
    "k_margin": [(auto, 1.1) for auto in AUTO],
    "k_beta": [(AUTO[1], 1.1)],
    "proxy_weight": [({"name": "none"}, 2.0)],
    "proxy_temperature": [({"name": "none", "proxy_weight": 1.0}, 0.5)],
    "grade_weight": [({"name": "none"}, 1.0)],
    "label_weight": [({"name": "none"}, 1.0)],
    "findings_weight": [({"name": "none"}, 1.0)],
    "smoothing": [({"name": "none"} | HEADS["label"], 0.2)],
    "dropout": [({"name": "none"} | head, 0.5) for head in HEADS.values()],
}


def all_of(**settings):
    """The sum of every part after an epoch of similar descriptors, which AutoMargin sees."""
    torch.manual_seed(0)  # of proxies, heads and what they drop
    config = LossConfig(**PLAIN | settings)
    loss = Criterion(config, labels=3, dimension=8, width=8, findings=2)
    near = torch.nn.functional.normalize(DESCRIPTORS + 0.6 * torch.eye(8)[TARGETS], dim=1)
    told = torch.tensor([[0, 1], [1, 0]] * 6)
    logits = torch.linspace(-1, 1, 60).reshape(12, 5)
    torch.manual_seed(1)
    for _ in range(2):
        parts = loss(near, TARGETS, logits, TARGETS, DESCRIPTORS, told)
        if loss.auto is not None:
            loss.auto.step()
    return sum(part.item() for part in parts.values())


@pytest.mark.parametrize(("field", "base", "value"), [(field, *each) for field in SETTINGS for each in SETTINGS[field]])
def test_every_setting_changes_the_loss_it_is_for(field, base, value):
    if field in ("margin", "beta") and base.get("auto_margin"):
        criteria = [criterion(**PLAIN | base | more) for more in ({}, {field: value})]
        assert [getattr(each.auto, field) for each in criteria] == [0.25 if field == "margin" else 0.0, value]
        return
    assert all_of(**base, **{field: value}) != pytest.approx(all_of(**base), rel=1e-4)


def test_no_setting_was_forgotten():
    assert set(SETTINGS) == {each.name for each in fields(LossConfig)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"name": "ada_triplet", "margin": 0.4, "beta": 0.2, "mining": "all"},
            ada_triplet_loss(DESCRIPTORS, TARGETS, margin=0.4, beta=0.2, mining="all"),
        ),
        (
            {"name": "fine_triplet", "margin": 0.4, "scale": 2.0, "symmetric": True},
            fine_triplet_loss(DESCRIPTORS, TARGETS, margin=0.4, scale=2.0, symmetric=True),
        ),
        ({"name": "fine_triplet_hinge", "margin": 0.4}, fine_triplet_hinge_loss(DESCRIPTORS, TARGETS, margin=0.4)),
        (
            {"name": "triplet", "margin": 0.4, "mining": "hard"},
            triplet_loss(DESCRIPTORS, TARGETS, margin=0.4, mining="hard"),
        ),
    ],
)
def test_settings_arrive_under_their_own_name(settings, expected):
    loss = criterion(**PLAIN | settings)(DESCRIPTORS, TARGETS, None, None)
    assert loss[settings["name"]].item() == pytest.approx(expected.item())


def test_active_triplets_are_a_share():
    e = torch.eye(3).repeat_interleave(4, 0)  # labels apart: nothing is active at margin .25
    assert criterion(margin=0.25).state(e, TARGETS)["triplets/active"] == 0
    assert criterion(margin=1.5).state(e, TARGETS)["triplets/active"] == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"loss": {"name": "circle", "auto_margin": True}}, "auto_margin is for triplet and"),
        ({"loss": {"weight": -1.0}}, "a weight is below 0"),
        ({"loss": {"label_weight": -1.0}}, "a weight is below 0"),
        ({"loss": {"findings_weight": -1.0}}, "a weight is below 0"),
        ({"data": {"margin": 0.9}}, "margin is 0.9; expected 1 to 2"),
        ({"loss": {"smoothing": 1.0}}, "smoothing is 1.0; expected 0 to below 1"),
        ({"loss": {"dropout": -0.1}}, "dropout is -0.1; expected 0 to below 1"),
        ({"data": {"label": "findings"}}, "set proxy_weight = 0"),
        ({"data": {"label": "findings"}, "loss": {"name": "arcface"}}, "arcface has a proxy"),
        ({"data": {"single_image_identities": True}}, "single_image_identities and both_eyes are for the labels"),
        ({"batch": {"both_eyes": True}}, "single_image_identities and both_eyes are for the labels"),
        ({"model": {"label_strength": 0.0}}, "label_strength is 0.0; expected above 0"),
        ({"model": {"label_sharpness": -1.0}}, "label_sharpness is -1.0; expected above 0"),
        ({"patience": 3}, "set validation under"),
        ({"data": {"validation": 1.0}}, "validation is 1.0; expected 0 to below 1"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings, sentence):
    data = {"manifests": ("x.csv",)} | settings.get("data", {})
    with pytest.raises(ValueError, match=sentence):
        TrainConfig(
            name="x",
            data=DataConfig(**data),
            model=ModelConfig(**settings.get("model", {})),
            loss=LossConfig(**settings.get("loss", {})),
            batch=BatchConfig(**settings.get("batch", {})),
            patience=settings.get("patience", 0),
        )


def test_a_recipe_may_name_every_attention_and_no_other():
    assert {"none", *ATTENTIONS} == set(get_args(get_type_hints(ModelConfig)["attention"]))
