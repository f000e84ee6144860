"""The fit against finite differences, scikit-learn, and what must not matter."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from foveola.relevance.linear import Linear, balanced, fit_linear, objective, sigmoid, softmax
from relevance.made import found, graded

LINKS = ("softmax", "sigmoid")


def problem(link, count=150, **made):
    x, table, _ = (graded if link == "softmax" else found)(count, **made)
    return x, table.members, balanced(table.members, link)


def standardised(x):
    return (x - x.mean(axis=0, dtype=float)) / x.std(axis=0, dtype=float)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("with_prior", [False, True])
def test_the_gradient_is_that_of_finite_differences(link, with_prior):
    x, members, weights = problem(link)
    x = x.astype(float)
    each = weights if weights.ndim == 2 else weights[:, None]
    rng = np.random.default_rng(1)
    prior = rng.normal(size=members.shape) if with_prior else None
    penalty = 0.3 if link == "softmax" else np.array([0.1, 0.3, 2.0])
    loss = objective(x, members, each / each.sum(), link=link, penalty=penalty, prior=prior)
    theta = rng.normal(size=x.shape[1] * 3 + 3 + with_prior)
    off = check_grad(lambda t: loss(t)[0], lambda t: loss(t)[1], theta)
    assert off < 1e-6 * np.linalg.norm(loss(theta)[1]) + 1e-6


def test_the_loss_by_hand():
    """Two cases, one number: log 2 each at zero; with weight w the logits are +-w and 0."""
    x, members = np.array([[1.0], [-1.0]]), np.array([[True, False], [False, True]])
    loss = objective(x, members, np.array([[0.5], [0.5]]), link="softmax", penalty=0.5)
    assert loss(np.zeros(4))[0] == pytest.approx(np.log(2))
    expected = np.log(1 + np.exp(-2.0)) + 0.25 * 4
    assert loss(np.array([2.0, 0, 0, 0]))[0] == pytest.approx(expected)


@pytest.mark.parametrize("penalty", [3.0, 0.1, 0.003])
def test_the_optimum_is_that_of_scikit_learn_for_one_value_a_case(penalty):
    x, members, weights = problem("softmax")
    made = fit_linear(x, members, weights, link="softmax", penalty=penalty)
    theirs = LogisticRegression(C=1 / (penalty * len(x)), class_weight="balanced", tol=1e-8, max_iter=10_000).fit(
        standardised(x), members.argmax(axis=1)
    )
    expected = theirs.predict_proba(standardised(x))
    assert softmax(made.logits(x)) == pytest.approx(expected, abs=2e-3)
    deviation = x.std(axis=0, dtype=float)[:, None]
    assert made.weights * deviation == pytest.approx(theirs.coef_.T, abs=5e-3)


@pytest.mark.parametrize("penalty", [1.0, 0.03])
def test_the_optimum_is_that_of_scikit_learn_for_each_finding_by_itself(penalty):
    x, members, weights = problem("sigmoid")
    made = fit_linear(x, members, weights, link="sigmoid", penalty=penalty)
    for k in range(members.shape[1]):
        theirs = LogisticRegression(C=1 / (penalty * len(x)), class_weight="balanced", tol=1e-8, max_iter=10_000).fit(
            standardised(x), members[:, k]
        )
        expected = theirs.predict_proba(standardised(x))[:, 1]
        assert sigmoid(made.logits(x))[:, k] == pytest.approx(expected, abs=2e-3)


def test_each_finding_has_its_own_penalty():
    x, members, weights = problem("sigmoid")
    penalties = np.array([10.0, 0.1, 0.01])
    together = fit_linear(x, members, weights, link="sigmoid", penalty=penalties)
    for k, penalty in enumerate(penalties):
        alone = fit_linear(x, members[:, [k]], weights[:, [k]], link="sigmoid", penalty=float(penalty))
        assert together.logits(x)[:, k] == pytest.approx(alone.logits(x)[:, 0], abs=0.02)


def test_under_a_strong_penalty_the_prior_is_taken_as_it_is():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 8)).astype(np.float32)
    true = Linear(rng.normal(size=(8, 3)).astype(np.float32), np.zeros(3, np.float32))
    drawn = softmax(true.logits(x)).cumsum(axis=1) > rng.random((len(x), 1))
    members = np.eye(3, dtype=bool)[drawn.argmax(axis=1)]
    made = fit_linear(x, members, np.ones(len(x)), link="softmax", penalty=1e6, prior=true.logits(x))
    assert made.weights == pytest.approx(0, abs=1e-3)
    assert made.bias == pytest.approx(np.full(3, made.bias.mean()), abs=0.15)
    assert made.scale == pytest.approx(1, abs=0.1)


def test_a_prior_that_is_wrong_is_overruled():
    x, members, weights = problem("softmax", 600, signal=3)
    wrong = np.roll(10.0 * members, 1, axis=1)
    made = fit_linear(x, members, weights, link="softmax", penalty=0.01, prior=wrong)
    told = made.logits(x) + made.scale * wrong
    assert (told.argmax(axis=1) == members.argmax(axis=1)).mean() > 0.95


@pytest.mark.parametrize("link", LINKS)
def test_two_fits_are_equal_to_the_last_bit(link):
    x, members, weights = problem(link)
    first, second = (fit_linear(x.copy(), members, weights, link=link, penalty=0.1) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.bias.tobytes() == second.bias.tobytes()


@pytest.mark.parametrize("link", LINKS)
def test_the_order_of_values_and_of_cases_does_not_matter(link):
    x, members, weights = problem(link)
    made = fit_linear(x, members, weights, link=link, penalty=0.1).logits(x)
    turned = weights if weights.ndim == 1 else weights[:, ::-1]
    other = fit_linear(x, members[:, ::-1], turned, link=link, penalty=0.1).logits(x)
    assert other[:, ::-1] == pytest.approx(made, abs=0.02)
    back = fit_linear(x[::-1], members[::-1], weights[::-1], link=link, penalty=0.1).logits(x)
    assert back == pytest.approx(made, abs=0.02)


@pytest.mark.parametrize("link", LINKS)
def test_every_case_twice_is_the_same_problem(link):
    x, members, weights = problem(link)
    once = fit_linear(x, members, weights, link=link, penalty=0.1)
    twice = fit_linear(np.repeat(x, 2, 0), np.repeat(members, 2, 0), np.repeat(weights, 2, 0), link=link, penalty=0.1)
    assert twice.logits(x) == pytest.approx(once.logits(x), abs=0.02)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_shift_and_a_scale_of_a_number_do_not_matter(link, scale):
    x, members, weights = problem(link)
    made = fit_linear(x, members, weights, link=link, penalty=0.1)
    moved = x.copy()
    moved[:, 3] = scale * x[:, 3] + 2 * scale
    moved[:, 5] = -x[:, 5]
    other = fit_linear(moved, members, weights, link=link, penalty=0.1)
    assert other.logits(moved) == pytest.approx(made.logits(x), abs=0.02)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3])
def test_a_number_that_is_always_the_same_tells_nothing(constant):
    x, members, weights = problem("softmax")
    wider = np.concatenate([x, np.full((len(x), 1), constant, np.float32)], axis=1)
    made = fit_linear(wider, members, weights, link="softmax", penalty=0.1)
    assert np.isfinite(made.weights).all()
    assert made.weights[-1] == pytest.approx(0, abs=1e-6)
    plain = fit_linear(x, members, weights, link="softmax", penalty=0.1)
    assert made.logits(wider) == pytest.approx(plain.logits(x), abs=0.02)


def test_where_nothing_varies_every_value_is_as_likely_as_it_weighs():
    x = np.ones((30, 4), np.float32)
    members = np.eye(3, dtype=bool)[np.repeat([0, 1, 2], [20, 7, 3])]
    made = fit_linear(x, members, balanced(members, "softmax"), link="softmax", penalty=1.0)
    assert softmax(made.logits(x[:1]))[0] == pytest.approx(np.full(3, 1 / 3), abs=1e-3)


def test_a_finding_that_everyone_has_is_no_fault():
    x, members, _ = problem("sigmoid")
    everyone = np.concatenate([members, np.ones((len(x), 1), bool)], axis=1)
    weights = balanced(everyone, "sigmoid")
    assert np.isfinite(weights).all()
    made = fit_linear(x, everyone, weights, link="sigmoid", penalty=1.0)
    assert (sigmoid(made.logits(x))[:, -1] > 0.5).all()


def test_a_start_does_not_change_the_optimum():
    x, members, weights = problem("softmax")
    cold = fit_linear(x, members, weights, link="softmax", penalty=0.1)
    start = fit_linear(x, members, weights, link="softmax", penalty=10.0)
    warm = fit_linear(x, members, weights, link="softmax", penalty=0.1, start=start)
    assert warm.logits(x) == pytest.approx(cold.logits(x), abs=0.02)
    prior = np.random.default_rng(0).normal(size=members.shape)
    cold = fit_linear(x, members, weights, link="softmax", penalty=0.1, prior=prior)
    warm = fit_linear(x, members, weights, link="softmax", penalty=0.1, prior=prior, start=cold)
    assert warm.scale == pytest.approx(cold.scale, abs=1e-2)


def test_balanced_weights_by_hand():
    members = np.eye(2, dtype=bool)[[0, 0, 0, 1]]
    assert balanced(members, "softmax") == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    found = np.array([[True], [False], [False], [False]])
    assert balanced(found, "sigmoid")[:, 0] == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])
    assert balanced(members, "softmax").mean() == pytest.approx(1)


def test_probabilities_of_far_logits_are_finite():
    far = np.array([[-1e4, 0, 1e4], [800.0, 800, -800]])
    assert softmax(far) == pytest.approx(np.array([[0, 0, 1], [0.5, 0.5, 0]]))
    assert sigmoid(far[0]) == pytest.approx([0, 0.5, 1])
