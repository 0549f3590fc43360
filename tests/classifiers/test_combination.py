"""The combination: its formula, its weights, and what it is worth beside its parts."""

import pytest
import torch

from paws.classifiers.combination import Combination, even, fit_weights, start_weights
from paws.classifiers.log_pool import pooled
from paws.classifiers.problem import problem_of
from tests.classifiers.test_paws_ensemble import SMALL, blobs


def made(views, labels, **more):
    return problem_of(views, labels, "abc", width=12, heads=SMALL, **more)


def test_it_is_the_weighted_product_of_its_parts_with_the_frequencies():
    views, labels, _ = blobs(per_class=4)
    problem = made(views, labels, prior=[0.5, 0.3, 0.2])
    ours = problem.fitted(Combination)
    x, known = problem.projected[:5, 0].float(), problem.support_labels
    found, weights = ours(x, problem.points, known)
    wanted = torch.zeros(5, 3)
    for part, weight in ours.weighted_parts():
        probabilities = part(x, problem.points, known)[0].clamp_min(1e-6)
        if part.name == "paws":
            probabilities = probabilities / torch.tensor([0.5, 0.3, 0.2])
        wanted += weight * (probabilities / probabilities.sum(1, keepdim=True)).log()
    wanted = wanted.exp() * torch.tensor([0.5, 0.3, 0.2])
    assert torch.allclose(found, wanted / wanted.sum(1, keepdim=True), atol=1e-4)
    assert torch.allclose(weights.sum(1), torch.ones(5), atol=1e-5)  # those of PAWS's vote


def test_held_out_labels_move_weights_to_what_is_right_and_few_hardly_do():
    start = torch.tensor([0.3, 0.3])
    for count, least in ((600, 1.8), (6, 1.0)):
        labels = torch.arange(count) % 3
        good = (4.0 * torch.eye(3)[labels]).log_softmax(1)
        noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(0)).log_softmax(1)
        found = fit_weights(torch.stack([good, noise]), labels, start)
        assert found[0] / found[1] > least
        if count == 6:
            assert (found / start - 1).abs().max() < 0.5


def test_more_labels_a_class_make_it_surer():
    few, many = (start_weights(torch.arange(3).repeat(each), 3) for each in (2, 20))
    assert many.sum() / few.sum() == pytest.approx(10**0.22, rel=1e-4)
    logs = even([torch.tensor([[0.6, 0.4]])] * 3, torch.tensor([0.5, 0.5]))
    assert pooled(logs, many, torch.tensor([0.5, 0.5])).max() > pooled(logs, few, torch.tensor([0.5, 0.5])).max()


def test_classes_that_cannot_be_held_out_do_not_move_the_weights():
    views, labels, _ = blobs(per_class=1)
    labels[1:8] = 0  # one class has eight labels, the others one
    problem = made(views, labels)
    assert not problem.judged and len(problem.held) == 8
    assert torch.equal(problem.fitted(Combination).weights, start_weights(problem.support_labels, 3))


@pytest.mark.parametrize("per_class", [1, 4])
def test_it_is_about_as_good_as_the_best_of_its_parts(per_class):
    views, labels, truth = blobs(sizes=(90, 30, 30), per_class=per_class, spread=0.8)
    problem = made(views, labels)
    ours = problem.fitted(Combination)
    rows = labels < 0

    def right(predictor):
        return float((problem.predict(predictor).argmax(1) == truth)[rows].double().mean())

    alone = [right(part) for part, _ in ours.weighted_parts()]
    assert right(ours) >= min(alone) and right(ours) >= max(alone) - 0.05


def test_a_fold_is_weighted_by_the_others_and_relabelling_keeps_the_weights():
    views, labels, _ = blobs(per_class=4)
    problem = made(views, labels)
    fitted = problem.cross_fitted(Combination)
    assert torch.allclose(fitted.held_out.sum(1), torch.ones(12), atol=1e-5)
    ours = fitted.predictor
    other = ours.with_labels(problem.points, problem.support_labels.flip(0), 3)
    assert torch.equal(other.weights, ours.weights)
    before = problem.predict(ours).argmax(1)
    views = problem.projected.float()
    after = other.over_views(views, problem.points, problem.support_labels.flip(0))[0]
    assert (after.argmax(1) == 2 - before).double().mean() > 0.8  # classes 0 and 2 changed places
