"""Heads that leave out folds: what they are shown, what they predict of them, and what me-max expects of them."""

from dataclasses import replace

import pytest
import torch

from paws.classifiers.calibration import calibrated
from paws.classifiers.heads import HeadSettings, HeadTraining, _pool, temperature_for
from paws.classifiers.label_spreading import Graph
from paws.classifiers.paws_ensemble import PawsEnsemble, pseudo_labeller, view_votes
from paws.classifiers.problem import problem_of
from paws.runs.running_means import Diverged
from paws.voting import floor

SMALL = HeadSettings(heads=3, steps=40, batch_size=32, hidden_dim=16, out_dim=8, lr=1e-2)


def blobs(sizes=(40, 40, 40), per_class=2, views=3, dim=20, spread=0.4):
    g = torch.Generator().manual_seed(0)
    truth = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    images = torch.randn(len(sizes), dim, generator=g)[truth] + spread * torch.randn(len(truth), dim, generator=g)
    labels = torch.full_like(truth, -1)
    for c in range(len(sizes)):
        rows = (truth == c).nonzero().flatten()[:per_class]
        labels[rows] = c
    return images[:, None] + 0.3 * torch.randn(len(truth), views, dim, generator=g), labels, truth


def made(views, labels, **more):
    return problem_of(views, labels, "abc", width=12, **{"heads": SMALL, **more})


def trained(problem, labels, seed=0):
    """A head, as `PawsEnsemble.cross_fit` trains it."""
    training = HeadTraining(problem, labels, problem.heads, seed=seed)
    for batch in training.method.source.batches(range(problem.heads.steps)):
        training.update(batch.step, *training.method.step(batch))
    return training.trained()


def test_every_label_is_predicted_by_heads_that_did_not_see_it():
    views, labels, _ = blobs()
    problem = made(views, labels)
    fitted = PawsEnsemble.cross_fit(problem)
    assert len(fitted.predictor.heads) == 4 and 0 <= fitted.agreement <= 1
    assert {row["head"] for row in fitted.curves} == {0, 1, 2, 3} and all(row["loss"] == row["loss"] for row in fitted.curves)
    support = problem.space.standardise(problem.support)
    for i in range(len(problem.support_labels)):
        fold = int(problem.fold[i])
        heads = [fitted.predictor.heads[fold], fitted.predictor.heads[fold + 2]]
        others = problem.fold != fold
        vote = PawsEnsemble(3, heads, SMALL.temperature, problem.space.projection())
        expected = vote(support[i : i + 1], support[others], problem.support_labels[others])[0][0]
        assert torch.allclose(fitted.held_out[i], expected, atol=1e-5)


def test_a_head_does_not_depend_on_a_label_that_it_leaves_out():
    views, labels, _ = blobs()
    problem = made(views, labels)
    hidden = problem.labelled[problem.fold == 0]
    other = labels.clone()
    other[hidden] = (labels[hidden] + 1) % 3
    kept = problem.visible_labels(0)
    assert torch.equal(kept, other.masked_fill(torch.isin(torch.arange(len(labels)), hidden), -1))
    first, second = (trained(problem, kept, seed=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def test_single_labels_are_calibrated_by_what_others_like_them_recover():
    views, labels, _ = blobs(per_class=1)
    problem = made(views, labels)
    fitted = PawsEnsemble.cross_fit(problem)
    assert len(fitted.predictor.heads) == 3 and len({row["head"] for row in fitted.curves}) == 6  # half of them are kept
    assert (fitted.held_out == 0).all()
    graph = problem.shared(Graph)
    votes = view_votes(problem, list(fitted.predictor.heads), SMALL.temperature)[:, 0].mean(0)
    support, plain = problem.support, torch.as_tensor(views)[graph.images, 0]
    queries, support = problem.space.standardise(plain), problem.space.standardise(support)
    predicted = fitted.predictor(queries, support, problem.support_labels)[0].argmax(1)
    confidence = calibrated(votes, fitted.calibration).amax(1).mean()
    assert float(confidence) == pytest.approx(graph.recovery(predicted), abs=0.01)


def test_classes_that_stand_apart_are_recovered_and_random_ones_are_not():
    views, labels, truth = blobs(per_class=1, spread=0.1)
    graph = Graph(made(views, labels))
    assert graph.recovery(truth[graph.images]) > 0.99
    assert graph.recovery(truth[torch.randperm(len(truth), generator=torch.Generator().manual_seed(0))]) < 0.5


def test_features_that_are_not_finite_end_the_training_of_a_head():
    views, labels, _ = blobs()
    problem = made(views, labels)
    broken = replace(problem, projected=torch.full_like(problem.projected, torch.nan))
    with pytest.raises(Diverged, match="loss, cross_entropy"):
        trained(broken, labels)


def test_me_max_follows_the_prior():
    views, labels, truth = blobs(sizes=(120, 20, 20), per_class=3, spread=1.0)
    shares = torch.bincount(truth) / len(truth)
    distance = {}
    for prior in (None, shares.tolist()):
        problem = made(views, labels, prior=prior)
        head = trained(problem, labels)
        vote = view_votes(problem, [head], SMALL.temperature)[0, 0]
        sharp = (vote.log() / SMALL.sharpening).softmax(1).mean(0)
        distance[prior is None] = float((sharp - shares).abs().sum())
    assert distance[False] < distance[True] - 0.1


def test_labelled_images_can_make_up_a_share_of_the_pool():
    labels = torch.full((900,), -1)
    labels[[5, 17, 300]] = torch.tensor([0, 1, 2])
    assert torch.equal(_pool(labels, 0.0), torch.arange(900))
    pool = _pool(labels, 0.5)
    assert abs((labels[pool] >= 0).double().mean() - 0.5) < 0.01 and len(pool.unique()) == 900


def test_spreading_adds_the_nearest_of_each_class():
    views, labels, truth = blobs(per_class=1, spread=0.1)
    added = Graph(made(views, labels)).pseudo_labelled(labels, 5)
    known = added >= 0
    assert torch.equal(added[labels >= 0], labels[labels >= 0]) and torch.equal(added[known], truth[known])
    assert all(5 <= int((added == c).sum()) <= 6 for c in range(3))


def test_few_labels_get_pseudo_labels_that_do_not_depend_on_what_is_held_out():
    views, labels, truth = blobs(sizes=(60, 60, 60), per_class=4, spread=0.1)
    problem = made(views, labels)
    pseudo = pseudo_labeller(problem)
    for fold in range(problem.fold_count):
        known = problem.visible_labels(fold)
        assert (known[problem.labelled[problem.fold == fold]] == -1).all()
        filled = pseudo(known)
        assert torch.equal(filled[known >= 0], known[known >= 0])
        assert all(3 <= int(((filled == c) & (known < 0)).sum()) <= 6 for c in range(3))  # six, less those that were known
        assert torch.equal(filled[filled >= 0], truth[filled >= 0])


def test_heads_are_trained_on_the_labels_they_may_see_and_on_pseudo_labels(monkeypatch):
    seen = []

    def noted(problem, labels, settings, seed):
        seen.append(labels)
        return HeadTraining(problem, labels, settings, seed)

    monkeypatch.setattr("paws.classifiers.paws_ensemble.HeadTraining", noted)
    views, labels, _ = blobs(sizes=(60, 60, 60), per_class=4, spread=0.1)
    problem = made(views, labels, heads=replace(SMALL, steps=1))
    PawsEnsemble.cross_fit(problem)
    assert len(seen) == 4
    for fold, shown in enumerate(seen):
        assert torch.equal(shown, pseudo_labeller(problem)(problem.visible_labels(fold)))


def test_many_labels_and_small_folders_get_no_pseudo_labels():
    for sizes, per_class in (((60, 60, 60), 6), ((9, 9, 9), 2)):
        views, labels, _ = blobs(sizes=sizes, per_class=per_class)
        assert torch.equal(pseudo_labeller(made(views, labels))(labels), labels)


def test_many_classes_take_no_more_from_a_vote_than_nine_others_do():
    assert all(temperature_for(classes) == 0.2 for classes in range(2, 11))
    before = 0.2
    for classes in (11, 36, 100, 1000):
        temperature = temperature_for(classes)
        assert temperature < before
        assert (classes - 1) * floor(classes, temperature) == pytest.approx(9 * floor(10, 0.2))
        before = temperature
    assert 0.09 < before < 0.1  # the paper has 0.1 for ImageNet
