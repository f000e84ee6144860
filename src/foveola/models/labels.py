"""The part of a descriptor that says which labels an image is likely to have.

With p the probabilities of the labels, the square roots of p make a unit vector, and the cosine
of two of them is the Bhattacharyya coefficient of the two distributions: 1 for the same, 0 for
distributions that share no label. Put beside the visual descriptor v,

    descriptor = (sqrt(1 - s) v, sqrt(s) sqrt(p)),
    cosine = (1 - s) cos(v, v') + s sum over labels of sqrt(p p').

Source: the coefficient is Bhattacharyya (1943); the composition is ours.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear


class LabelPart(nn.Module):
    """Square roots of the probabilities of labels, from pooled features, by a linear classifier.

    Args:
        features: C, width of the pooled features.
        names: of the L labels.
        share: s, of the squared length of the descriptor, above 0 and below 1.

    Raises:
        ValueError: fewer than two labels, or a share out of range.
    """

    def __init__(self, features: int, names: Sequence[str], share: float) -> None:
        super().__init__()
        if len(names) < 2:
            raise ValueError(f"got {len(names)} labels; expected at least 2")
        if not 0 < share < 1:
            raise ValueError(f"share is {share}; expected above 0 and below 1")
        self.names, self.share = tuple(names), share
        self.classifier = nn.Linear(features, len(names))

    @torch.no_grad()
    def sharpen(self, power: float) -> None:
        """Let p^power, divided by its sum, stand for p from now on: above 1 the likeliest gains.

        Nothing that was fitted changes place; a query then asks more for its likeliest label,
        and finds first the images that have it most surely.
        """
        self.classifier.weight.mul_(power)
        self.classifier.bias.mul_(power)

    def forward(self, visual: Tensor, pooled: Tensor) -> Tensor:
        """Unit (B, D) and pooled features (B, C) -> unit (B, D + L) float32."""
        with torch.autocast(visual.device.type, enabled=False):
            weight, bias = self.classifier.weight, self.classifier.bias
            logits = linear(pooled.float(), weight.float(), bias.float())
            roots = torch.softmax(logits, 1).sqrt()
            parts = [(1 - self.share) ** 0.5 * visual.float(), self.share**0.5 * roots]
            return torch.cat(parts, 1)


def fit_classifier(
    classifier: nn.Linear, features: Tensor, labels: Tensor, *, strength: float = 10.0, steps: int = 200
) -> float:
    """Fit a linear classifier by balanced logistic regression, to its optimum.

    Each label weighs the same however few images have it, so that a rare grade is not given up
    for a common one. The problem is convex: where it started and the seed play no part. Features
    are standardised for the fit; the result takes them as they are.

    Args:
        classifier: from C features to L labels; its weights are replaced.
        features: (N, C) float.
        labels: (N,) int in 0 to L - 1; every label occurs.
        strength: of the penalty, half of it times the squared weights beside the summed losses.
        steps: of L-BFGS at most.

    Returns:
        The share of images it gets right, mean over the labels: of the images it was fitted to.

    Raises:
        ValueError: a label has no image, or the shapes do not fit.
    """
    count = classifier.out_features
    sizes = torch.bincount(labels, minlength=count).double()
    if features.ndim != 2 or len(features) != len(labels) or len(sizes) != count:
        raise ValueError(f"features are {tuple(features.shape)}, labels {tuple(labels.shape)}")
    if not (sizes > 0).all():
        raise ValueError("a label has no image to learn it from")
    mean, spread = features.double().mean(0), features.double().std(0).clamp(min=1e-6)
    x = (features.double() - mean) / spread
    weights = (len(labels) / (count * sizes))[labels]
    W = torch.zeros(count, x.shape[1], dtype=x.dtype, requires_grad=True)
    b = torch.zeros(count, dtype=x.dtype, requires_grad=True)
    _minimise(lambda: _objective(x, labels, weights, W, b, strength), [W, b], steps)
    with torch.no_grad():
        classifier.weight.copy_((W / spread).float())
        classifier.bias.copy_((b - (W / spread) @ mean).float())
        right = (linear(x, W, b).argmax(1) == labels).double()
    return float(torch.stack([right[labels == i].mean() for i in range(count)]).mean())


def _objective(x: Tensor, labels: Tensor, weights: Tensor, W: Tensor, b: Tensor, strength: float) -> Tensor:
    losses = cross_entropy(linear(x, W, b), labels, reduction="none") * weights
    total: Tensor = (losses.sum() + 0.5 * strength * (W**2).sum()) / len(labels)
    return total


def _minimise(objective: Callable[[], Tensor], parameters: list[Tensor], steps: int) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = objective()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
