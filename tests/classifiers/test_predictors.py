"""Every predictor against scikit-learn or a naive loop."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn import linear_model
from sklearn.neighbors import KNeighborsClassifier

from paws.classifiers import predictor, table
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.logistic_regression import ITERATIONS, TOLERANCE, LogisticRegression
from paws.classifiers.nearest_neighbours import NearestNeighbours
from paws.classifiers.paws_ensemble import PawsEnsemble, head
from paws.classifiers.poisson import Poisson
from paws.classifiers.poisson_mbo import PoissonMbo
from paws.classifiers.problem import problem_of
from paws.classifiers.soft_nearest_neighbours import SoftNearestNeighbours
from paws.classifiers.space import unit
from paws.voting import floor

IDENTITY = torch.nn.Identity()


def data(classes=3, n=9, dim=5, queries=4):
    g = torch.Generator().manual_seed(classes)
    y = torch.arange(n) % classes
    return torch.randn(queries, dim, generator=g), torch.randn(n, dim, generator=g) + y[:, None], y


def test_soft_vote_equals_a_loop_and_classes_weigh_alike():
    x, support, y = data(n=7)  # three images of class 0, two of the others
    heads = [head(5, 8, 4).eval().requires_grad_(False) for _ in range(2)]
    probabilities, weights = PawsEnsemble(3, heads, 0.2, IDENTITY)(x, support, y)
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
    probabilities, weights = SoftNearestNeighbours(classes, 0.2)(simplex, simplex, torch.arange(classes))
    others = ~torch.eye(classes, dtype=torch.bool)
    assert torch.allclose(weights[others], torch.tensor(floor(classes, 0.2)), rtol=1e-4)
    assert torch.allclose(probabilities, torch.eye(classes), atol=1e-5)
    opposite, _ = SoftNearestNeighbours(classes, 0.2)(
        -simplex, simplex, torch.arange(classes)
    )  # further from one than the others are
    assert (opposite >= 0).all() and torch.allclose(opposite.sum(1), torch.ones(classes))


def test_none_votes_on_itself():
    _, support, y = data()
    probabilities, weights = SoftNearestNeighbours(3)(support, support, y, own=True)
    assert (weights.diag() == 0).all() and torch.allclose(probabilities.sum(1), torch.ones(9))
    nearest, _ = NearestNeighbours(3, 1)(support, support, y, own=True)
    for i in range(9):
        others = [j for j in range(9) if j != i]
        closest = min(others, key=lambda j: float((support[i] - support[j]).norm()))
        assert nearest[i].argmax() == y[closest]


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_and_neighbours_are_scikit_learns(classes):
    x, support, y = data(classes)
    ours = LogisticRegression.of(support, y, classes)
    theirs = (
        linear_model.LogisticRegression(max_iter=2000)
        .fit(support.double().numpy(), y.numpy())
        .predict_proba(x.double().numpy())
    )
    assert np.allclose(ours(x, support, y)[0].detach(), theirs, atol=1e-5)
    uneven, y2 = support[: -classes // 2], y[: -classes // 2]
    ours = LogisticRegression(classes, x.shape[1], 2.0, scaled=True).with_labels(uneven, y2, classes)
    model = linear_model.LogisticRegression(C=2.0, class_weight="balanced", tol=TOLERANCE, max_iter=ITERATIONS)
    theirs = model.fit(unit(uneven).numpy(), y2.numpy()).predict_proba(unit(x).numpy())
    assert np.allclose(ours(x, support, y)[0].detach(), theirs, atol=1e-5)
    theirs = KNeighborsClassifier(3).fit(support.numpy(), y.numpy()).predict_proba(x.numpy())
    assert np.allclose(NearestNeighbours(classes, 3)(x, support, y)[0], theirs)


def test_logistic_regression_of_a_problem_is_at_its_minimum() -> None:
    g = torch.Generator().manual_seed(0)
    truth = torch.arange(300) % 30
    views = torch.randn(30, 1, 64, generator=g)[truth] + torch.randn(300, 2, 64, generator=g)
    labels = torch.where(torch.arange(300) < 120, truth, -1)
    problem = problem_of(views, labels, [str(c) for c in range(30)], width=64)
    x = unit(problem.projected[:120].float()).flatten(0, 1).double().numpy()
    known = truth[:120].repeat_interleave(2).numpy()
    model = linear_model.LogisticRegression(class_weight="balanced", tol=1e-9, max_iter=10_000).fit(x, known)
    rest = unit(problem.projected[120:].float()).mean(1)
    ours = LogisticRegression.fit(problem).linear(rest).softmax(1).detach()
    theirs = rest.double().numpy() @ model.coef_.T + model.intercept_
    assert np.allclose(ours, torch.from_numpy(theirs).softmax(1), atol=0.02)  # at a tolerance of 1e-2 it would be 0.16 off


def test_a_class_that_logistic_regression_did_not_see_gets_nothing():
    x, support, y = data()
    ours = LogisticRegression.of(support[y != 1], y[y != 1], 3)
    assert (ours(x, support, y)[0][:, 1] < 1e-6).all()


def test_spread_is_the_mean_of_its_nearest():
    x, bank, y = data()
    spread = torch.rand(9, 3)
    unit = torch.nn.functional.normalize(bank, dim=1)
    found, _ = LabelSpreading(3, unit, spread, 2)(x, bank, y)
    for i in range(len(x)):
        cosine = torch.cosine_similarity(x[i : i + 1], bank)
        near = cosine.argsort(descending=True)[:2]
        distance = 2 - 2 * cosine[near]  # squared
        mean = ((-4 * distance / distance[1]).exp()[:, None] * spread[near]).sum(0)
        square = (mean / mean.sum()).square()
        assert torch.allclose(found[i], square / square.sum(), atol=1e-5)


def test_spread_of_a_bundle_of_format_3_is_the_mean_of_its_nearest():
    x, bank, y = data()
    spread = torch.rand(9, 3)
    found, _ = LabelSpreading(3, bank, spread, 2, IDENTITY, cosine=False)(x, bank, y)
    for i in range(len(x)):
        near = (bank - x[i]).norm(dim=1).argsort()[:2]
        mean = spread[near].sum(0)
        assert torch.allclose(found[i], mean / mean.sum(), atol=1e-5)


def test_an_empty_predictor_of_the_same_shape_takes_the_weights():
    x, support, y = data()
    project = torch.nn.Linear(5, 4, bias=False)
    for ours in (
        PawsEnsemble(3, [head(4, 6, 2)], 0.3, project),
        LogisticRegression.of(support, y, 3),
        NearestNeighbours(3, 2),
        NearestNeighbours(3, 2, cosine=True),
        LabelSpreading(3, support[:, :4], torch.rand(9, 3), 2, project),
        SoftNearestNeighbours(3, 0.4),
        Poisson(3, support, torch.rand(9, 3), 2),
        PoissonMbo(3, support, torch.rand(9, 3), 2),
    ):
        ours.eval()
        assert predictor(ours.name) is type(ours)
        copy = type(ours).from_config(json.loads(json.dumps(ours.config())))
        copy.load_state_dict(ours.state_dict())
        assert torch.equal(copy.eval()(x, support, y)[0], ours(x, support, y)[0])


def test_built_in_predictors_stand_first_in_the_table():
    names = ("combination", "paws", "nearest_neighbours", "logistic_regression", "label_spreading", "soft_nearest_neighbours")
    assert tuple(table())[:8] == (*names, "poisson", "poisson_mbo")
