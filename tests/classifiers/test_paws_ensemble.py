"""Heads that leave out folds: what they are shown, what they predict of them, and that one product trains them all."""

from dataclasses import replace

import pytest
import torch

from paws.classifiers import frequencies as module
from paws.classifiers.base import CrossFitted
from paws.classifiers.frequencies import counted, em, frequencies, with_counts
from paws.classifiers.heads import Batches, Heads, HeadSettings, Supports, head, taught, temperature_for, train_heads
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.paws_ensemble import FUSED, PawsEnsemble, head_count, teacher, teacher_weights
from paws.classifiers.poisson import Poisson
from paws.classifiers.problem import problem_of
from paws.losses import consistency, paws_loss, smoothed_one_hot, soft_nn
from paws.voting import floor

SMALL = HeadSettings(heads=4, steps=40, batch_size=32, hidden_dim=16, out_dim=8, lr=1e-2)


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


def test_every_label_is_predicted_by_heads_that_did_not_see_it():
    views, labels, _ = blobs()
    problem = made(views, labels)
    fitted = PawsEnsemble.cross_fit(problem)
    assert len(fitted.predictor.heads) == 4 and 0 <= fitted.agreement <= 1
    assert fitted.curves[-1]["step"] == 40 and all(row["loss"] == row["loss"] for row in fitted.curves)
    for i in range(len(problem.support_labels)):
        fold = int(problem.fold[i])
        heads = [fitted.predictor.heads[fold], fitted.predictor.heads[fold + 2]]
        others = problem.fold != fold
        vote = PawsEnsemble(3, heads, SMALL.temperature, problem.space.half_whitened(256))
        own = problem.projected[problem.labelled[i]].float()  # (V, P)
        expected = vote(own, problem.points[others], problem.support_labels[others])[0].mean(0)
        assert torch.allclose(fitted.held_out[i], expected, atol=1e-5)


def test_neither_heads_nor_teachers_depend_on_a_label_that_is_left_out():
    views, labels, _ = blobs(per_class=4)
    problem = made(views, labels, prior="uniform")
    hidden = problem.labelled[problem.fold == 0]
    without = labels.clone()
    without[hidden] = -1
    assert torch.equal(problem.visible_labels(0), without)
    for kind in (LogisticRegression, LabelSpreading):
        blind, other = kind.fit(problem, 0), kind.fit(made(views, without, prior="uniform"))
        if kind is LabelSpreading:  # the bank is in another order
            assert torch.allclose(blind.distributions.sum(0), other.distributions.sum(0), atol=1e-3)
        else:
            assert torch.allclose(blind.linear.weight, other.linear.weight, atol=1e-5)
    teachers = teacher(problem, 0, problem.class_prior)[None]
    both = [train_heads(problem, [shown], teachers, problem.class_prior, SMALL)[0][0] for shown in (without, without.clone())]
    assert all(torch.equal(a, b) for a, b in zip(*(each.state_dict().values() for each in both), strict=True))


def test_the_teacher_trusts_what_is_right_of_labels_of_the_other_folds():
    views, labels, _ = blobs(per_class=8)
    problem = made(views, labels, prior="uniform")
    start = FUSED * torch.tensor([1 - 1 / 8, 1.0, 8**-0.5])
    right = torch.nn.functional.one_hot(problem.support_labels).float() * 0.7 + 0.1
    wrong = right.roll(1, 1)

    def judged(logistic, graph):
        for kind, held_out in ((LogisticRegression, logistic), (LabelSpreading, graph), (Poisson, graph)):
            problem.keep(kind, CrossFitted(problem.fitted(kind), held_out, 1.0, 1.0))
        return teacher_weights(problem, 0) / start

    trusted, doubted = judged(right, wrong), judged(wrong, right)
    assert trusted[0] > 2 * trusted[1] and trusted[0] > 2 * trusted[2] and doubted[1] > 2 * doubted[0]
    own = problem.fold == 0
    assert torch.equal(judged(torch.where(own[:, None], wrong, right), wrong), trusted)  # those of the fold are not asked
    assert torch.equal(teacher_weights(made(*blobs(per_class=1)[:2]), None), FUSED * torch.tensor([0.0, 1.0, 1.0]))


def test_heads_in_one_product_equal_heads_one_by_one():
    torch.manual_seed(0)
    heads = [head(6, 5, 4) for _ in range(3)]
    for each in heads:
        torch.nn.init.uniform_(each[1].weight, 0.5, 2)
        torch.nn.init.normal_(each[1].bias)
    together, x = Heads(heads), torch.randn(3, 20, 6)
    one_by_one = torch.stack([each(rows) for each, rows in zip(heads, x, strict=True)])  # in training mode
    assert torch.allclose(together(x), one_by_one, atol=1e-5)
    for ours, theirs in zip(together.split(), heads, strict=True):
        for name, value in theirs.eval().state_dict().items():
            if "num_batches" not in name:
                assert torch.allclose(ours.state_dict()[name], value, atol=1e-6), name


def test_the_loss_of_several_heads_is_that_of_each():
    g = torch.Generator().manual_seed(0)
    z, support = torch.randn(3, 12, 4, generator=g), torch.randn(3, 6, 4, generator=g)
    more = {"labels": torch.arange(6) // 2, "num_classes": 3, "smoothing": 0.1, "prior": torch.tensor([0.5, 0.3, 0.2])}
    together = paws_loss(z, support, z.flip(-2), support, **more)
    for i in range(3):
        alone = paws_loss(z[i], support[i], z[i].flip(-2), support[i], **more)
        assert torch.allclose(torch.stack(together)[:, i], torch.stack(alone), atol=1e-6)


def test_a_teacher_is_mixed_into_the_target_before_it_is_sharpened():
    g = torch.Generator().manual_seed(0)
    z, support, ids = torch.randn(1, 4, 5, generator=g), torch.randn(1, 4, 5, generator=g), torch.tensor([0, 1, 0, 1])
    teacher_log = torch.randn(1, 2, 2, generator=g).log_softmax(2)
    rows = smoothed_one_hot(ids, 2, 0.2)
    log_p = soft_nn(z, support, rows, 0.1).log()
    found, _ = consistency(log_p, taught(log_p, teacher_log, 0.4))
    cosine = torch.nn.functional.normalize(z[0], dim=1) @ torch.nn.functional.normalize(support[0], dim=1).T
    vote = (cosine / 0.1).softmax(1) @ (torch.nn.functional.one_hot(ids).float() * 0.8 + 0.1)
    mixed = vote[[2, 3, 0, 1]] ** 0.6 * teacher_log[0, [0, 1, 0, 1]].exp() ** 0.4  # two views of two images
    target = (mixed / mixed.sum(1, keepdim=True)) ** 4
    target = target / target.sum(1, keepdim=True)
    assert float(found) == pytest.approx(float(-(target * vote.log()).sum(1).mean()), abs=1e-3)


def test_votes_over_balanced_supports_have_the_loss_of_paws():
    g = torch.Generator().manual_seed(0)
    z, support = (torch.randn(2, rows, 5, generator=g, requires_grad=True) for rows in (8, 6))
    ids, prior = torch.arange(6) // 2, torch.tensor([0.5, 0.3, 0.2])
    log_p = soft_nn(z, support, smoothed_one_hot(ids, 3, 0.1), 0.2).log()
    ours = consistency(log_p, taught(log_p.detach(), torch.zeros(2, 4, 3), 0.0), 0.25, prior)
    theirs = paws_loss(z, support, z.roll(4, 1), support, ids, 3, smoothing=0.1, temperature=0.2, prior=prior)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
        slopes = (torch.autograd.grad(each.sum(), (z, support), retain_graph=True) for each in (one, other))
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*slopes, strict=True))


def test_supports_are_of_their_class_and_of_those_that_are_shown():
    first, second = torch.full((30,), -1), torch.full((30,), -1)
    first[:7], second[3:9] = torch.tensor([0, 0, 0, 1, 1, 1, 1]), torch.tensor([1, 1, 0, 0, 0, 0])
    draws = torch.Generator().manual_seed(0)
    supports = Supports([first, second], 2, 5, draws)
    assert supports.each == 4
    drawn = supports.draw(draws)  # (2, 2 * 4)
    wanted = torch.tensor([0, 1]).repeat_interleave(4)
    assert torch.equal(first[drawn[0]], wanted) and torch.equal(second[drawn[1]], wanted)
    assert len(drawn[0, 4:].unique()) == 4 and len(drawn[0, :4].unique()) == 3


def test_images_are_drawn_by_their_weights() -> None:
    views, labels, _ = blobs(per_class=4)
    problem, draws = made(views, labels), torch.Generator().manual_seed(0)
    weights = torch.zeros(len(labels))
    weights[3], weights[5] = 1.0, 3.0
    images, x = Batches(problem, SMALL, draws, weights).draw(torch.zeros(2, 6, dtype=torch.int64))
    assert set(images.unique().tolist()) == {3, 5}
    assert float((images == 5).double().mean()) == pytest.approx(0.75, abs=0.15)
    assert x.shape[:2] == (2, 2 * SMALL.batch_size + 6)


def test_single_labels_train_as_many_heads_as_asked_for():
    views, labels, truth = blobs(per_class=1)
    problem = made(views, labels)
    fitted = PawsEnsemble.cross_fit(problem)
    assert len(fitted.predictor.heads) == 4 and (fitted.held_out == 0).all() and fitted.calibration == 1
    assert float((problem.predict(fitted.predictor).argmax(1) == truth).double().mean()) > 0.8
    assert [head_count(folds, SMALL) for folds in (0, 2, 3, 4)] == [4, 4, 3, 4]


def test_me_max_follows_the_prior():
    views, labels, truth = blobs(sizes=(120, 20, 20), per_class=3, spread=1.0)
    shares = torch.bincount(truth) / len(truth)
    distance = {}
    for prior in ("uniform", shares.tolist()):
        problem = made(views, labels, prior=prior)
        nothing = torch.zeros(1, len(labels), 3)
        (network,), _ = train_heads(problem, [labels], nothing, problem.class_prior, replace(SMALL, teacher=0.0))
        vote = problem.predict(PawsEnsemble(3, [network], SMALL.temperature, problem.space.half_whitened(256)))
        distance[prior == "uniform"] = float((vote.mean(0) - shares).abs().sum())
    assert distance[False] < distance[True] - 0.1


def test_em_recovers_the_frequencies_of_a_mixture():
    g = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.6, 0.3, 0.1])
    truth = torch.multinomial(shares, 4000, replacement=True, generator=g)
    x = 2 * torch.eye(3)[truth] + torch.randn(4000, 3, generator=g)  # N(2 e_c, 1)
    logs = (2 * x).log_softmax(1)  # the likelihood of class c is proportional to exp(2 x_c)
    assert torch.allclose(em(logs), shares, atol=0.03)
    assert not torch.allclose(logs.exp().mean(0), shares, atol=0.08)  # what the mean prediction says
    spoiled = torch.cat([logs, torch.tensor([[-3.0, -3.0, -0.1]]).repeat(2000, 1)])  # images that all look like the rare class
    weights = (torch.arange(6000) < 4000).float()
    assert torch.allclose(em(spoiled, weights), shares, atol=0.03)
    assert float(em(spoiled)[2]) > 0.3


def test_frequencies_are_estimated_given_or_told_by_uneven_labels():
    views, labels, truth = blobs(sizes=(120, 20, 20), per_class=4)
    shares = torch.bincount(truth) / len(truth)
    found = frequencies(made(views, labels))
    assert found.sum() == pytest.approx(1, abs=1e-5) and (found - shares).abs().sum() < 0.15
    assert torch.allclose(frequencies(made(views, labels, prior="uniform")), torch.full((3,), 1 / 3))
    even = torch.full((3,), 1 / 3)
    assert torch.equal(with_counts(even, torch.arange(12) % 3), even)
    counts = with_counts(even, torch.tensor([0] * 20 + [1] * 3 + [2]))
    assert torch.allclose(counts, (torch.tensor([21, 4, 2]) / 27 + even) / 2)


@pytest.mark.parametrize("per_class", [1, 2, 4])
def test_frequencies_are_told_by_the_graph_while_labels_are_few(per_class: int, monkeypatch: pytest.MonkeyPatch) -> None:
    views, labels, truth = blobs(sizes=(120, 20, 20), per_class=per_class)
    problem, shares = made(views, labels), torch.bincount(truth) / len(truth)
    graph = torch.nn.functional.one_hot(problem.on_pool(Poisson).argmax(1), 3).float().mean(0)
    counts = counted(problem)
    assert torch.allclose(counts, (graph + 0.2 / 3) / 1.2)  # no class is without images
    found = frequencies(problem)
    assert (found - shares).abs().sum() < 0.75 * (1 / 3 - shares).abs().sum()
    if per_class == 1:  # halfway from even ones
        assert torch.allclose(found, counts.sqrt() / counts.sqrt().sum(), atol=1e-5)
        return
    monkeypatch.setattr(module, "counted", lambda *_: torch.full((3,), 1 / 3))
    without = frequencies(made(views, labels)).log()
    weight = {2: 0.5, 4: 0.125}[per_class]  # `without` is the rest of EM's estimate, to the power of 1 - weight
    assert torch.allclose((without + weight * counts.log()).softmax(0), found, atol=1e-4)


def test_frequencies_that_depend_on_which_labels_are_seen_are_even() -> None:
    views, labels, _ = blobs(sizes=(120, 20, 20), per_class=8)
    g = torch.Generator().manual_seed(0)
    known = labels >= 0
    away = []
    for _ in range(5):  # labels at random: what is estimated is chance
        shuffled = labels.clone()
        shuffled[known] = labels[known][torch.randperm(int(known.sum()), generator=g)]
        away.append(float((frequencies(made(views, shuffled)) - 1 / 3).abs().sum()))
    assert sum(away) / len(away) < 0.25 * float((frequencies(made(views, labels)) - 1 / 3).abs().sum())


def test_many_classes_take_no_more_from_a_vote_than_nine_others_do():
    assert all(temperature_for(classes) == 0.2 for classes in range(2, 11))
    before = 0.2
    for classes in (11, 36, 100, 1000):
        temperature = temperature_for(classes)
        assert temperature < before
        assert (classes - 1) * floor(classes, temperature) == pytest.approx(9 * floor(10, 0.2))
        before = temperature
    assert 0.09 < before < 0.1  # the paper has 0.1 for ImageNet
