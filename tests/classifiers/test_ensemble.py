"""Heads that leave out folds: what they are shown, how they are judged, and what me-max expects of them."""

from dataclasses import replace

import pytest
import torch

from paws.classifiers import ensemble
from paws.classifiers.calibration import calibrated
from paws.classifiers.compare import SpreadGraph
from paws.classifiers.heads import HeadSettings, _pool, train_head
from paws.classifiers.problem import problem_of
from paws.classifiers.rules import SoftVote
from paws.fit.choice import filler_for

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


def test_every_label_is_judged_by_heads_that_did_not_see_it():
    views, labels, _ = blobs()
    problem = problem_of(views, labels, "abc", width=12)
    rows = []
    members = ensemble.train_members(problem, SMALL, curves=rows)
    assert [m.left_out for m in members] == [0, 1, 0, 1] and all(0 <= m.agreement <= 1 for m in members)
    assert {row["head"] for row in rows} == {0, 1, 2, 3} and all(row["loss"] == row["loss"] for row in rows)
    found = ensemble.held_out(problem, members)
    for i in range(len(problem.truth)):
        fold = int(problem.fold[i])
        blind = [m.head for m in members if m.left_out == fold]
        others = problem.fold != fold
        vote = SoftVote(blind, SMALL.temperature, problem.space.projection())
        support = problem.space.standardise(problem.support)
        one_hot = torch.nn.functional.one_hot(problem.truth[others]).float()
        assert torch.allclose(found[i], vote(support[i : i + 1], support[others], one_hot)[0][0], atol=1e-5)


def test_a_head_does_not_depend_on_a_label_that_it_leaves_out():
    views, labels, _ = blobs()
    problem = problem_of(views, labels, "abc", width=12)
    hidden = problem.labelled[problem.fold == 0]
    other = labels.clone()
    other[hidden] = (labels[hidden] + 1) % 3
    kept = problem.known(0)
    assert torch.equal(kept, other.masked_fill(torch.isin(torch.arange(len(labels)), hidden), -1))
    first, second = (train_head(problem.projected, kept, 3, SMALL, seed=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def test_single_labels_are_judged_by_what_others_like_them_recover():
    views, labels, _ = blobs(per_class=1)
    problem = problem_of(views, labels, "abc", width=12)
    members = ensemble.train_members(problem, SMALL)
    assert len(members) == 6 and all(m.left_out is None for m in members)
    nothing = ensemble.held_out(problem, members)
    graph = SpreadGraph(problem)
    assert (nothing == 0).all()
    every = ensemble.view_votes(problem, [m.head for m in members], SMALL)[:, 0].mean(0)
    guess = ensemble.vote_of(problem, [m.head for m in members], SMALL)
    support, labels = problem.space.standardise(problem.support), torch.eye(3)[problem.truth]
    plain = problem.space.standardise(torch.as_tensor(views)[graph.images, 0])
    named = guess(plain, support, labels)[0].argmax(1)
    confidence = calibrated(every, ensemble.exponent(problem, members, nothing, graph)).amax(1).mean()
    assert float(confidence) == pytest.approx(graph.recovery(named, 3), abs=0.01)


def test_classes_that_stand_apart_are_recovered_and_random_ones_are_not():
    views, labels, truth = blobs(per_class=1, spread=0.1)
    graph = SpreadGraph(problem_of(views, labels, "abc", width=12))
    assert graph.recovery(truth[graph.images], 3) > 0.99
    assert graph.recovery(truth[torch.randperm(len(truth), generator=torch.Generator().manual_seed(0))], 3) < 0.5


def test_me_max_follows_the_prior():
    views, labels, truth = blobs(sizes=(120, 20, 20), per_class=3, spread=1.0)
    shares = torch.bincount(truth) / len(truth)
    distance = {}
    for prior in (None, shares.tolist()):
        problem = problem_of(views, labels, "abc", width=12, prior=prior)
        head = train_head(problem.projected, labels, 3, SMALL, prior=problem.prior)
        vote = ensemble.view_votes(problem, [head], SMALL)[0, 0]
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
    added = SpreadGraph(problem_of(views, labels, "abc", width=12)).surest(labels, 3, 5)
    known = added >= 0
    assert torch.equal(added[labels >= 0], labels[labels >= 0]) and torch.equal(added[known], truth[known])
    assert all(5 <= int((added == c).sum()) <= 6 for c in range(3))


def test_few_labels_are_filled_up_without_those_that_are_held_out():
    views, labels, truth = blobs(sizes=(60, 60, 60), per_class=4, spread=0.1)
    problem = problem_of(views, labels, "abc", width=12)
    fill = filler_for(problem, SpreadGraph(problem))
    seen = []

    def noted(known):
        seen.append(known)
        return fill(known)

    ensemble.train_members(problem, replace(SMALL, steps=1), fill=noted)
    assert len(seen) == 4
    for fold, known in enumerate(seen):
        assert torch.equal(known, problem.known(fold)) and (known[problem.labelled[problem.fold == fold]] == -1).all()
        filled = fill(known)
        assert torch.equal(filled[known >= 0], known[known >= 0])
        assert all(3 <= int(((filled == c) & (known < 0)).sum()) <= 6 for c in range(3))  # six, less those that were known
        assert torch.equal(filled[filled >= 0], truth[filled >= 0])


def test_many_labels_and_small_folders_are_not_filled_up():
    for sizes, per_class in (((60, 60, 60), 6), ((9, 9, 9), 2)):
        views, labels, _ = blobs(sizes=sizes, per_class=per_class)
        problem = problem_of(views, labels, "abc", width=12)
        assert filler_for(problem, SpreadGraph(problem)) is None
