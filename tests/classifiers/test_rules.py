"""Every rule against scikit-learn or a naive loop."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from paws.classifiers.rules import Linear, Nearest, SoftVote, Spread, build, floor, head


def data(classes=3, n=9, dim=5, queries=4):
    g = torch.Generator().manual_seed(classes)
    y = torch.arange(n) % classes
    return torch.randn(queries, dim, generator=g), torch.randn(n, dim, generator=g) + y[:, None], y


def one_hot(y):
    return torch.nn.functional.one_hot(y).float()


def test_soft_vote_equals_a_loop_and_classes_weigh_alike():
    x, support, y = data(n=7)  # three images of class 0, two of the others
    heads = [head(5, 8, 4).eval().requires_grad_(False) for _ in range(2)]
    probabilities, weights = SoftVote(list(heads), 0.2)(x, support, one_hot(y))
    for i in range(len(x)):
        share = np.zeros(7)
        for h in heads:
            cosine = [float(torch.cosine_similarity(h(x[i : i + 1]), h(s[None]))) for s in support]
            raw = [math.exp(c / 0.2) / int((y == y[j]).sum()) for j, c in enumerate(cosine)]
            share += np.array(raw) / sum(raw) / 2
        assert np.allclose(weights[i].detach(), share, atol=1e-5)
        above = [max(0.0, share[y.numpy() == c].sum() - floor(3, 0.2)) for c in range(3)]
        assert np.allclose(probabilities[i].detach(), np.array(above) / sum(above), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_vote_among_classes_as_far_apart_as_can_be_is_sure(classes):
    simplex = torch.eye(classes) - 1 / classes  # (C, C), one image of each class
    probabilities, weights = SoftVote([], 0.2)(simplex, simplex, torch.eye(classes))
    others = ~torch.eye(classes, dtype=torch.bool)
    assert torch.allclose(weights[others], torch.tensor(floor(classes, 0.2)), rtol=1e-4)
    assert torch.allclose(probabilities, torch.eye(classes), atol=1e-5)
    opposite, _ = SoftVote([], 0.2)(-simplex, simplex, torch.eye(classes))  # further from one than the others are
    assert (opposite >= 0).all() and torch.allclose(opposite.sum(1), torch.ones(classes))


def test_none_votes_on_itself():
    _, support, y = data()
    probabilities, weights = SoftVote([], 0.1)(support, support, one_hot(y), own=True)
    assert (weights.diag() == 0).all() and torch.allclose(probabilities.sum(1), torch.ones(9))
    nearest, _ = Nearest(1)(support, support, one_hot(y), own=True)
    for i in range(9):
        others = [j for j in range(9) if j != i]
        closest = min(others, key=lambda j: float((support[i] - support[j]).norm()))
        assert nearest[i].argmax() == y[closest]


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_and_neighbours_are_scikit_learns(classes):
    x, support, y = data(classes)
    rule = Linear.fit(support, y, classes)
    theirs = LogisticRegression(max_iter=2000).fit(support.double().numpy(), y.numpy()).predict_proba(x.double().numpy())
    assert np.allclose(rule(x, support, one_hot(y))[0].detach(), theirs, atol=1e-5)
    theirs = KNeighborsClassifier(3).fit(support.numpy(), y.numpy()).predict_proba(x.numpy())
    assert np.allclose(Nearest(3)(x, support, one_hot(y))[0], theirs)


def test_a_class_that_logistic_regression_did_not_see_gets_nothing():
    x, support, y = data()
    rule = Linear.fit(support[y != 1], y[y != 1], 3)
    assert (rule(x, support, one_hot(y))[0][:, 1] < 1e-6).all()


def test_spread_is_the_mean_of_its_nearest():
    x, bank, y = data()
    spread = torch.rand(9, 3)
    found, _ = Spread(bank, spread, 2)(x, bank, one_hot(y))
    for i in range(len(x)):
        near = (bank - x[i]).norm(dim=1).argsort()[:2]
        mean = spread[near].sum(0)
        assert torch.allclose(found[i], mean / mean.sum(), atol=1e-5)


def test_an_empty_rule_of_the_same_shape_takes_the_weights():
    x, support, y = data()
    project = torch.nn.Linear(5, 4, bias=False)
    for rule in (
        SoftVote([head(4, 6, 2)], 0.3, project),
        Linear.fit(support, y, 3),
        Nearest(2),
        Spread(support, one_hot(y), 2),
    ):
        rule.eval()
        copy = build(rule.config())
        copy.load_state_dict(rule.state_dict())
        assert torch.equal(copy.eval()(x, support, one_hot(y))[0], rule(x, support, one_hot(y))[0])
