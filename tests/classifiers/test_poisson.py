"""Poisson learning and Poisson MBO against dense linear algebra and, where it is installed, the authors' package."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from torch.nn.functional import normalize

from paws.classifiers.graph import affinities, times
from paws.classifiers.label_spreading import spread
from paws.classifiers.poisson import DAMPING, Poisson, probabilities, solution, source
from paws.classifiers.poisson_mbo import PoissonMbo, class_weights, flow
from paws.classifiers.problem import problem_of

SIZES = (60, 30, 20)  # images of each class


def clusters(spread: float = 0.45) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (M, 12) around three centres, as many as ``SIZES`` says, and their classes."""
    draw = torch.Generator().manual_seed(0)
    classes = torch.cat([torch.full((size,), c) for c, size in enumerate(SIZES)])
    return torch.eye(12)[classes] * 2 + spread * torch.randn(len(classes), 12, generator=draw), classes


def labelled(classes: torch.Tensor, per_class: int = 2) -> torch.Tensor:
    known = torch.full_like(classes, -1)
    for c in range(len(SIZES)):
        known[(classes == c).nonzero().flatten()[:per_class]] = c
    return known


def graph(points: torch.Tensor) -> tuple[scipy.sparse.csr_matrix, np.ndarray, np.ndarray]:
    found, roots, _ = affinities(normalize(points, dim=1))
    return found, roots, found.toarray().astype(np.float64) * roots * roots[:, None]  # the weights themselves


def test_the_solution_is_that_of_the_poisson_equation() -> None:
    points, classes = clusters(1.5)
    found, roots, weights = graph(points)
    b = source(labelled(classes), 3)
    degrees = weights.sum(1)
    assert torch.allclose(b.sum(0), torch.zeros(3), atol=1e-6) and np.allclose(degrees, roots**2, rtol=1e-4)
    laplacian = np.diag((1 + DAMPING) * degrees) - weights
    u = solution(found, roots, b).numpy()
    assert np.abs(laplacian @ u - b.numpy()).max() < 0.02
    exact = np.linalg.pinv(np.diag(degrees) - weights) @ b.numpy()
    exact -= (degrees[:, None] * exact).sum(0) / degrees.sum()  # solutions differ by a constant
    assert (u.argmax(1) == exact.argmax(1)).mean() > 0.98


def test_images_that_no_label_reaches_are_of_every_class_alike() -> None:
    points, classes = clusters(0.0)  # three parts that nothing joins
    known = labelled(classes)
    known[known == 2] = -1
    found, roots, _ = graph(points + 1e-4 * torch.randn(points.shape, generator=torch.Generator().manual_seed(2)))
    p = probabilities(solution(found, roots, source(known, 3)))
    assert torch.allclose(p.sum(1), torch.ones(len(p)))
    assert (p[classes == 0].argmax(1) == 0).all() and (p[classes == 1].argmax(1) == 1).all()
    assert torch.allclose(p[classes == 2], torch.full((1, 3), 1 / 3), atol=1e-3)


def test_class_weights_give_each_class_its_share() -> None:
    scores = torch.rand(2, 4000, 3, generator=torch.Generator().manual_seed(0))
    prior = torch.tensor([0.6, 0.3, 0.1])
    weights = class_weights(scores, prior, torch.ones(2, 3))
    for each, weight in zip(scores, weights, strict=True):
        shares = torch.bincount((each * weight).argmax(1)) / 4000
        assert float((shares - prior).abs().max()) < 0.04


def test_the_flow_ends_with_the_shares_that_are_known() -> None:
    points, classes = clusters(0.7)
    found, roots, _ = graph(points)
    prior = torch.tensor(SIZES) / sum(SIZES)
    b = source(labelled(classes), 3)
    decided = flow(found, roots, b[None], probabilities(solution(found, roots, b))[None], prior)[0].argmax(1)
    assert float((torch.bincount(decided, minlength=3) / len(classes) - prior).abs().max()) < 0.03
    assert float((decided == classes).double().mean()) > 0.85


def test_several_draws_of_labels_at_once_are_as_each_alone() -> None:
    points, classes = clusters(1.0)
    found, roots, _ = graph(points)
    known = torch.stack([labelled(classes, n) for n in (1, 2, 7)])
    sources, prior = [source(each, 3) for each in known], torch.tensor(SIZES) / sum(SIZES)
    together = solution(found, roots, torch.cat(sources, 1)).split(3, 1)
    starts = torch.stack([probabilities(each) for each in together])
    flows = flow(found, roots, torch.stack(sources), starts, prior)
    for i, each in enumerate(sources):
        assert torch.allclose(together[i], solution(found, roots, each), atol=1e-5)
        assert torch.allclose(flows[i], flow(found, roots, each[None], starts[i : i + 1], prior)[0], atol=1e-5)
    for one, other in zip(spread(found, roots, known, 3), known, strict=True):
        assert all(torch.allclose(*parts) for parts in zip(one, spread(found, roots, other[None], 3)[0], strict=True))


def test_a_graph_times_numbers_is_a_sparse_product() -> None:
    found, _, _ = graph(clusters()[0])
    values = torch.rand(sum(SIZES), 70, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(times(found, values), torch.from_numpy(found @ values.numpy()), atol=1e-6)


@pytest.mark.parametrize("kind", [Poisson, PoissonMbo])
def test_a_fit_names_the_clusters_and_is_not_shown_its_fold(kind: type[Poisson | PoissonMbo]) -> None:
    points, classes = clusters()
    known = labelled(classes, 4)
    problem = problem_of(points[:, None], known, ("a", "b", "c"), width=8, prior=SIZES)
    found = kind.fit(problem)
    assert (problem.predict(found).argmax(1) == classes).double().mean() > 0.95
    rows = problem.labelled[problem.fold == 0]
    others = known.clone()
    others[rows] = -1
    blind = problem_of(points[:, None], others, ("a", "b", "c"), width=8, prior=SIZES)
    assert torch.equal(kind.fit(problem, 0).distributions, kind.fit(blind).distributions)


def test_both_agree_with_the_authors_package() -> None:
    gl = pytest.importorskip("graphlearning", reason="PyPI's graphlearning 1.7.5 is not among the dependencies")
    points, classes = clusters(1.5)
    found, roots, weights = graph(points)
    known = labelled(classes)
    rows, prior = (known >= 0).nonzero().flatten().numpy(), np.array(SIZES) / sum(SIZES)
    theirs = gl.ssl.poisson(scipy.sparse.csr_matrix(weights))
    theirs.fit(rows, known.numpy()[rows])
    b = source(known, 3)
    assert (solution(found, roots, b).argmax(1).numpy() == theirs.prob.argmax(1)).mean() > 0.98
    mbo = gl.ssl.poisson_mbo(scipy.sparse.csr_matrix(weights), class_priors=prior)
    start = probabilities(solution(found, roots, b))[None]
    ours = flow(found, roots, b[None], start, torch.from_numpy(prior).float())[0].argmax(1).numpy()
    assert (ours == mbo.fit_predict(rows, known.numpy()[rows])).mean() > 0.93
