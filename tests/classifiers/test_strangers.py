"""Images of no class: how many, which, that a pool without them is left alone, and what is far from the whole pool."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.classifiers.frequencies import em, frequencies
from paws.classifiers.graph import affinities
from paws.classifiers.label_spreading import LabelSpreading, spread
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.problem import Problem, problem_of
from paws.classifiers.strangers import UNKNOWN, belonging, familiarity_of_pool, fit_strangers, stranger_probability
from paws.fit.fit import fit_features

TYPICAL = torch.special.ndtri((torch.arange(60) + 0.5) / 60)  # familiarity of 60 labelled images


def familiarity(known: int, strangers: int, seed: int) -> Tensor:
    """Normal with deviation 1 around 0 for images of a class and around -4 for others."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(known + strangers, generator=generator)
    found[known:] -= 4
    return found


@pytest.mark.parametrize("strangers", [0, 200, 800])
def test_their_share_of_the_pool_is_found(strangers: int) -> None:
    pool, labelled = familiarity(1000 - strangers, strangers, 1), TYPICAL
    found = torch.tensor(fit_strangers(labelled, torch.ones(60), pool))
    probability = stranger_probability(pool, found)
    assert float(probability.mean()) == pytest.approx(strangers / 1000, abs=0.06)
    assert float((probability[: 1000 - strangers] > 0.5).float().mean()) < 0.12
    if strangers:
        assert float((probability[1000 - strangers :] > 0.5).float().mean()) > 0.9


@pytest.mark.parametrize("far", [4.0, 40.0, 400.0])
def test_images_of_the_classes_are_none_however_far_strangers_are(far: float) -> None:
    pool = familiarity(500, 500, 1) / 3
    pool[500:] = -far + far / 10 * pool[500:]
    found = torch.tensor(fit_strangers(TYPICAL[::4] / 3, torch.ones(15), pool))
    probability = stranger_probability(pool, found)
    assert float(probability[:500].mean()) < 0.1
    assert float(probability[500:].mean()) > 0.9


def test_labels_of_a_rare_class_weigh_as_little_as_it_occurs() -> None:
    common, rare = torch.randn(900, generator=torch.Generator().manual_seed(0)), torch.full((100,), 3.0)
    labelled = torch.cat([common[:20], rare[:20]])
    pool = torch.cat([common, rare])
    evenly = torch.tensor(fit_strangers(labelled, torch.ones(40), pool))
    weighed = torch.tensor(fit_strangers(labelled, torch.tensor([0.9] * 20 + [0.1] * 20), pool))
    assert float(stranger_probability(pool, evenly).mean()) > 0.3
    assert float(stranger_probability(pool, weighed).mean()) < 0.1


def test_nothing_is_strange_where_nothing_is_known() -> None:
    assert not stranger_probability(torch.tensor([-30.0, 0.0]), torch.tensor(UNKNOWN)).any()


def test_what_is_stranger_than_the_whole_pool_is_strange() -> None:
    pool, labelled = familiarity(1000, 0, 1), TYPICAL
    found = torch.tensor(fit_strangers(labelled, torch.ones(60), pool))
    assert float(stranger_probability(torch.tensor([-20.0]), found)) > 0.99


def clusters(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(3 * count, 8) points around three directions, and which."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(3).repeat_interleave(count)
    return torch.eye(8)[truth] + 0.15 * torch.randn(len(truth), 8, generator=generator), truth


def test_reach_is_the_mean_over_classes_of_what_spreading_gives_by_the_root_of_the_degree() -> None:
    points, truth = clusters(10, 0)
    graph, roots, far = affinities(normalize(points, dim=1))
    labels = torch.full((30,), -1)
    labels[[0, 1, 10]] = torch.tensor([0, 0, 1])
    start = torch.zeros(30, 2, dtype=torch.float64)
    start[[0, 1], 0], start[10, 1] = 0.5, 1.0
    exact = 0.05 * torch.linalg.solve(
        torch.eye(30, dtype=torch.float64) - 0.95 * torch.from_numpy(graph.toarray()).double(), start
    )
    reached = spread(graph, roots, labels[None], 2)[0][1]
    assert torch.allclose(reached.double(), exact.mean(1) / torch.from_numpy(roots), rtol=0.02, atol=1e-6)
    assert float(reached[truth == 2].max()) < float(reached[truth < 2].min())
    distance = 2 - 2 * normalize(points, dim=1) @ normalize(points, dim=1).T
    assert float(far) == pytest.approx(float(distance.sort(dim=1).values[:, 1].quantile(0.99)), abs=1e-5)


def test_familiarity_falls_where_the_neighbours_are_far() -> None:
    points, _ = clusters(30, 0)
    bank = normalize(points, dim=1)
    graph, roots, far = affinities(bank)
    labels = torch.full((90,), -1)
    labels[[0, 30, 60]] = torch.arange(3)
    found, reached = spread(graph, roots, labels[None], 3)[0]
    ours = LabelSpreading(3, bank, found, 15, reached=reached, far=far)
    fresh, away = clusters(30, 1)[0], -points.mean(0, keepdim=True)
    even = torch.full((3,), 1 / 3)
    own, other, pool = (ours.familiarity(ours.near(x[:, None]), even) for x in (fresh, away, points))
    assert own is not None and other is not None and pool is not None
    assert float(other) < float(own.min()) - 1
    assert math.isclose(float(pool.mean()), float(own.mean()), abs_tol=0.3)


def uneven(strangers: bool, per_class: int = 8) -> tuple[Problem, Tensor]:
    """120 images of one class, 40 of another, and as many of none, which look rather like the second; and which is which."""
    points, truth = clusters(160, 3)
    points[truth == 2, 1] += 0.5
    keep = (truth == 0) & (torch.arange(480) % 4 > 0) | (truth == 1) & (torch.arange(480) % 4 == 0) | (truth == 2) & strangers
    points, truth = points[keep], truth[keep]
    labels = torch.full((len(truth),), -1)
    for known in (0, 1):
        labels[(truth == known).nonzero().flatten()[:per_class]] = known
    return problem_of(points[:, None], labels, ("a", "b"), width=8), truth


def test_frequencies_are_those_of_the_images_that_belong_to_a_class() -> None:
    true = torch.tensor([0.75, 0.25])
    problem, truth = uneven(strangers=True)
    belongs = belonging(problem, true)
    assert belongs is not None and float(belongs[truth == 2].mean()) < 0.3 * float(belongs[truth < 2].mean())
    all_alike = em(problem.on_pool(LogisticRegression))
    assert abs(float(frequencies(problem)[0]) - 0.75) < 0.7 * abs(float(all_alike[0]) - 0.75)


def test_a_large_class_is_as_familiar_as_a_small_one() -> None:
    problem, truth = uneven(strangers=False)
    rest = problem.labels < 0
    weighed, alike = (familiarity_of_pool(problem, torch.tensor([p, 1 - p]))[rest] for p in (0.75, 0.5))
    large = truth[rest] == 0
    assert abs(float(weighed[large].mean() - weighed[~large].mean())) < 0.4
    assert float(alike[large].mean() - alike[~large].mean()) < -0.5
    belongs, too_few = (belonging(problem, torch.tensor([p, 1 - p])) for p in (0.75, 0.5))
    assert belongs is not None and too_few is not None
    assert float(belongs[truth == 0].mean()) > float(too_few[truth == 0].mean()) + 0.1
    assert belonging(uneven(strangers=True, per_class=1)[0], torch.tensor([0.5, 0.5])) is None, "nothing tells of them"


def test_a_fit_tells_strangers_of_its_pool() -> None:
    points, truth = clusters(60, 3)
    labels = torch.full((180,), -1)
    for known in (0, 1):
        labels[(truth == known).nonzero().flatten()[:6]] = known
    fitted = fit_features(points[:, None], labels, ("a", "b"))
    found = fitted.classifier.votes(points)
    rest = labels < 0
    assert float((found.strange[rest & (truth == 2)] > 0.5).float().mean()) > 0.9
    assert float((found.strange[rest & (truth < 2)] > 0.5).float().mean()) < 0.1
    single = labels.clone()
    single[(labels >= 0).nonzero().flatten()[[1, 2, 3, 4, 5, 7, 8, 9, 10, 11]]] = -1
    heads = fit_features(points[:, None], labels, ("a", "b"), model="paws").classifier
    assert not heads.knows_strangers, "it has no graph, and 0 would say that none is strange"
    few = labels.clone()
    few[(labels >= 0).nonzero().flatten()[[1, 2, 9, 10]]] = -1  # eight are left
    for known in (single, few):
        alone = fit_features(points[:, None], known, ("a", "b")).classifier
        assert not alone.knows_strangers and not alone.votes(points).strange.any()
    small = torch.cat([(labels >= 0).nonzero().flatten(), rest.nonzero().flatten()[:49]])  # a share of so few tells nothing
    alone = fit_features(points[small, None], labels[small], ("a", "b")).classifier
    assert not alone.knows_strangers and not alone.votes(points).strange.any()


@pytest.mark.parametrize("model", ["auto", "poisson", "label_spreading", "logistic_regression"])
def test_votes_by_neighbours_that_are_known_are_those_by_a_search(model: str) -> None:
    points, truth = clusters(40, 4)
    labels = torch.full((120,), -1)
    for known in range(3):
        labels[(truth == known).nonzero().flatten()[:5]] = known
    fitted = fit_features(points[:, None], labels, ("a", "b", "c"), model=model)
    known, found = (fitted.classifier.votes(points[:, None], near=near) for near in (fitted.near, None))
    for one, other in ((known.probabilities, found.probabilities), (known.strange, found.strange)):
        assert torch.allclose(one, other, atol=5e-3)  # those of the pool are of components in half precision
    shuffled = tuple(part.flip(0) for part in fitted.near)
    wrong = fitted.classifier.votes(points[:, None], near=shuffled).probabilities
    assert torch.allclose(wrong, found.probabilities, atol=5e-3) == (model == "logistic_regression")  # which asks for none
