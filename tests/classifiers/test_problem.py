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


def test_copies_are_held_out_together_and_a_class_of_copies_is_never_held_out():
    labels = torch.tensor([0] * 6 + [1] * 6 + [2] * 3)
    groups = torch.tensor([0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 3, 9, 9, 9])  # 3 has both labels
    fold = folds(labels, 4, 0, groups)
    for group in groups.unique():
        assert len(fold[groups == group].unique()) == 1
    assert (fold[:12] >= 0).all() and (fold[12:] == -1).all() and len(fold[:12].unique()) == 4
    assert fold_count(labels, groups=groups) == 5 and fold_count(labels[:6], groups=groups[:6]) == 4
    assert fold_count(labels[12:], groups=groups[12:]) == 0
    assert torch.equal(folds(labels, 4, 0, torch.arange(15)), folds(labels, 4, 0))


def test_priors():
    labels = torch.tensor([0, 0, 0, 1, -1, -1])
    assert class_prior(None, labels, ("a", "b")) is None and class_prior("estimate", labels, ("a", "b")) is None
    assert torch.equal(class_prior("uniform", labels, ("a", "b")), torch.tensor([0.5, 0.5]))
    assert torch.equal(class_prior("labels", labels, ("a", "b")), torch.tensor([0.75, 0.25]))
    assert torch.equal(class_prior([2, 6], labels, ("a", "b")), torch.tensor([0.25, 0.75]))
    for wrong in ("odd", [1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(InputError, match=r"prior .* a, b"):
            class_prior(wrong, labels, ("a", "b"))


def test_projection_is_the_map_of_the_standardised_features():
    views = torch.randn(50, 3, 12, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 13) + 5
    space = fit_space(views, 4)
    flat = views.flatten(0, 1)
    assert torch.allclose(space.standardise(flat), (flat - flat.mean(0)) / flat.std(0), atol=1e-5)
    points = space.points(views)
    assert torch.allclose(space.project(views).float(), points, atol=4e-3)
    covariance = torch.cov(points.flatten(0, 1).T)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-3  # principal: uncorrelated
    assert torch.allclose(covariance.diag(), space.variances, rtol=0.02)
    half = space.half_whitened(2)(points)
    assert torch.allclose(half.flatten(0, 1).var(0), space.variances[:2].sqrt(), rtol=0.02)
    assert torch.allclose(space.components @ space.components.T, torch.eye(4), atol=1e-5)
    assert fit_space(views, 100).components.shape == (12, 12)


def test_what_is_left_out_is_not_known():
    labels = torch.full((30,), -1)
    labels[:8] = torch.arange(8) % 2
    problem = problem_of(torch.randn(30, 2, 6), labels, ("a", "b"), width=4)
    assert problem.fold_count == 4 and len(problem.held) == 8
    for f in range(4):
        known = problem.visible_labels(f)
        hidden = problem.labelled[problem.fold == f]
        assert len(hidden) == 2 and (known[hidden] == -1).all() and (known >= 0).sum() == 6


@pytest.mark.parametrize(
    "views",
    [
        pytest.param(torch.zeros(20, 3, 48), id="nothing varies"),
        pytest.param(torch.randn(2, 1, 1).expand(2, 6, 384).half(), id="two images, one column many times"),
        pytest.param(torch.randn(1, 1, 96).expand(20, 6, 96).half(), id="copies of one image"),
        pytest.param(torch.randn(40, 1, 4).repeat(1, 6, 100) * (torch.arange(400) % 5 == 0), id="mostly constant columns"),
        pytest.param(torch.cat([torch.full((30, 2, 8), 1e8), torch.randn(30, 2, 4)], 2), id="large constant columns"),
        pytest.param(torch.randn(30, 1, 5).double() * 1e-12, id="tiny numbers"),
    ],
)
def test_a_space_of_columns_that_do_not_vary(views):
    space = fit_space(views, 8)
    projected, standardised = space.project(views).float(), space.standardise(views)
    assert projected.isfinite().all() and standardised.isfinite().all() and standardised.abs().max() < 10
    constant = (views.flatten(0, 1) == views[:1, 0]).all(0)
    assert (standardised[..., constant] == 0).all()
    assert ((standardised[..., ~constant].flatten(0, 1).square().mean(0) - 1).abs() < 0.1).all()
    assert (space.standardise(views + 100 * constant)[..., constant].abs() < 1e-20).all()


def test_a_large_mean_does_not_drown_what_varies():
    varying = torch.randn(60, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    near, far = fit_space(varying, 6), fit_space(varying + 1e5, 6)
    assert torch.allclose(near.standardise(varying), far.standardise(varying + 1e5), atol=0.02)


def test_features_that_are_not_numbers_are_refused():
    with pytest.raises(InputError, match="NaN or infinite"):
        fit_space(torch.tensor([[[1.0, float("nan")]], [[0.0, 1.0]]]), 2)


def test_an_eigenvalue_solver_that_does_not_converge_has_a_second(monkeypatch):
    def fail(matrix):
        raise torch.linalg.LinAlgError("did not converge")

    views = torch.randn(50, 1, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)
    usual = fit_space(views, 3).components
    monkeypatch.setattr(torch.linalg, "eigh", fail)
    assert torch.allclose(fit_space(views, 3).components.abs(), usual.abs(), atol=1e-5)
