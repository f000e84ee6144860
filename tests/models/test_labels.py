import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from foveola.models.descriptor import DescriptorModel
from foveola.models.labels import LabelPart, fit_classifier


def part_with(probabilities, share):
    """A part that says the same of every image."""
    made = LabelPart(3, ["a", "b"], share)
    torch.nn.init.zeros_(made.classifier.weight)
    made.classifier.bias.data = torch.tensor(probabilities).log()
    return made


def test_the_cosine_by_hand():
    visual = torch.tensor([[1.0, 0.0]])
    other = torch.tensor([[0.6, 0.8]])
    one = part_with([0.9, 0.1], 0.75)(visual, torch.zeros(1, 3))
    two = part_with([0.4, 0.6], 0.75)(other, torch.zeros(1, 3))
    bhattacharyya = math.sqrt(0.9 * 0.4) + math.sqrt(0.1 * 0.6)
    assert float((one * two).sum().detach()) == pytest.approx(0.25 * 0.6 + 0.75 * bhattacharyya, abs=1e-6)
    assert one.norm().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_labels_are_those_of_single_precision_under_autocast(dtype):
    generator = torch.Generator().manual_seed(0)
    part = LabelPart(64, ["a", "b", "c"], 0.5)
    visual, pooled = torch.randn(2, 5, 64, generator=generator)
    expected = part(visual, pooled)
    with torch.autocast("cpu", dtype):
        assert torch.equal(part(visual, pooled), expected)


def test_sharpened_probabilities_are_powers_of_themselves():
    made = part_with([0.8, 0.2], 0.5)
    made.classifier.weight.data = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    features = torch.tensor([[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0]])  # p = 4:1 and 2:1
    made.sharpen(2)
    with torch.no_grad():
        of_label = made(torch.tensor([[1.0, 0.0]] * 2), features)[:, 2:] ** 2 / 0.5
    expected = torch.tensor([[16 / 17, 1 / 17], [4 / 5, 1 / 5]])
    assert torch.allclose(of_label, expected, atol=1e-6)


def test_a_hopeless_label_is_zero_and_no_nan():
    made = part_with([0.5, 0.5], 0.5)
    made.classifier.bias.data = torch.tensor([0.0, -1e4])
    described = made(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 3))
    assert described[0, -1] == 0
    assert torch.isfinite(described).all()


def data(seed=0, n=300, width=6):
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.8, 0.15, 0.05])
    features = rng.normal(0, 1, (n, width)) * [1, 5, 0.1, 1, 1, 1] + 3
    features[:, 0] += labels
    return torch.tensor(features), torch.tensor(labels)


def test_agrees_with_scikit_learns_balanced_logistic_regression():
    features, labels = data()
    classifier = torch.nn.Linear(6, 3).double()
    fit_classifier(classifier, features, labels, strength=10.0)
    x = features.numpy()
    x = (x - x.mean(0)) / x.std(0, ddof=1)
    theirs = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-8, max_iter=1000)
    theirs.fit(x, labels.numpy())
    with torch.no_grad():
        ours = torch.softmax(classifier(features), 1).numpy()
    assert np.abs(ours - theirs.predict_proba(x)).max() < 1e-3


def test_a_rare_label_is_not_given_up():
    features, labels = data(n=2000)
    classifier = torch.nn.Linear(6, 3)
    right = fit_classifier(classifier, features.float(), labels)
    with torch.no_grad():
        said = classifier(features.float()).argmax(1)
    recalls = [float((said[labels == i] == i).float().mean()) for i in range(3)]
    assert min(recalls) > 0.3
    assert right == pytest.approx(np.mean(recalls), abs=1e-6)


def test_start_and_seed_play_no_part():
    features, labels = data()
    found = []
    for seed in range(2):
        torch.manual_seed(seed)
        classifier = torch.nn.Linear(6, 3)
        fit_classifier(classifier, features.float(), labels)
        found.append(classifier.weight.detach())
    assert torch.equal(*found)


def test_what_is_refused():
    with pytest.raises(ValueError, match="share"):
        LabelPart(3, ["a", "b"], 1.0)
    with pytest.raises(ValueError, match="at least 2"):
        LabelPart(3, ["a"], 0.5)
    with pytest.raises(ValueError, match="no image"):
        fit_classifier(torch.nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 0, 2, 2]))
    with pytest.raises(ValueError, match="labels"):
        fit_classifier(torch.nn.Linear(2, 2), torch.zeros(4, 2), torch.tensor([0, 1]))


@pytest.mark.parametrize("options", [{}, {"attention": "mirror"}, {"fusion": "sum"}])
def test_the_model_puts_it_behind_the_visual_descriptor(options):
    torch.manual_seed(0)
    model = DescriptorModel("mobilenetv2_050", 16, **options).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
        model.add_labels(LabelPart(before.pooled.shape[1], ["a", "b", "c"], 0.6))
        after = model(x)
    assert model.dimension == after.descriptor.shape[1] == 19
    assert torch.allclose(after.descriptor[:, :16], 0.4**0.5 * before.descriptor, atol=1e-6)
    assert torch.allclose(after.descriptor.norm(dim=1), torch.ones(2), atol=1e-6)
