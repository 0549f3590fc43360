"""Folds, priors, the space of features, and what a model is shown."""

import pytest
import torch

from paws.classifiers.folds import fold_count, folds
from paws.classifiers.prior import class_prior
from paws.classifiers.problem import problem_of
from paws.classifiers.space import fit_space
from paws.errors import InputError


def test_folds_spread_every_class_and_never_hold_out_an_only_image():
    labels = torch.tensor([0] * 11 + [1] * 4 + [2])
    count = fold_count(labels)
    fold = folds(labels, count, seed=1)
    assert count == 5 and fold[15] == -1
    for c, size in ((0, 11), (1, 4)):
        sizes = torch.bincount(fold[labels == c], minlength=count)
        assert sizes.sum() == size and sizes.max() - sizes.min() <= 1
    assert fold_count(torch.tensor([0, 1, 2])) == 0 and fold_count(torch.tensor([0, 0, 1])) == 2


def test_priors():
    labels = torch.tensor([0, 0, 0, 1, -1, -1])
    assert class_prior(None, labels, 2) is None and class_prior("uniform", labels, 2) is None
    assert torch.equal(class_prior("labels", labels, 2), torch.tensor([0.75, 0.25]))
    assert torch.equal(class_prior([2, 6], labels, 2), torch.tensor([0.25, 0.75]))
    for wrong in ("even", [1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(InputError, match="prior"):
            class_prior(wrong, labels, 2)


def test_projection_is_the_map_of_the_standardised_features():
    views = torch.randn(50, 3, 12, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 13) + 5
    space = fit_space(views, 4)
    flat = views.flatten(0, 1)
    assert torch.allclose(space.standardise(flat), (flat - flat.mean(0)) / flat.std(0), atol=1e-5)
    by_module = space.projection()(space.standardise(views))
    assert torch.allclose(space.project(views).float(), by_module, atol=2e-3)
    components = by_module.flatten(0, 1)
    assert components.var(0).mean() == pytest.approx(1, rel=0.02)
    covariance = torch.cov(components.T)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-3  # principal: uncorrelated
    assert fit_space(views, 100).components.shape == (12, 12)


def test_what_is_left_out_is_not_known():
    labels = torch.full((30,), -1)
    labels[:8] = torch.arange(8) % 2
    problem = problem_of(torch.randn(30, 2, 6), labels, ("a", "b"), width=4)
    assert problem.fold_count == 4 and len(problem.held) == 8
    for f in range(4):
        known = problem.known(f)
        hidden = problem.labelled[problem.fold == f]
        assert len(hidden) == 2 and (known[hidden] == -1).all() and (known >= 0).sum() == 6
