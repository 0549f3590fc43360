"""Encoders trained on the pixels as one more part of the combination: what is read of them, held out, weighed and kept."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import normalize

from paws.classifiers.classifier import Classifier
from paws.classifiers.combination import LEARNING, Combination, even, fit_weights, parts_of, start_weights
from paws.classifiers.frequencies import frequencies
from paws.classifiers.heads import HeadSettings
from paws.classifiers.problem import Encoded, Problem, problem_of, with_encoders
from paws.classifiers.trained_encoders import TrainedEncoders
from paws.fit.encoders import RECIPES, teacher_share
from paws.fit.fit import classifier_of, fit_problem
from paws.voting import soft_vote

IMAGES, WIDTH, COUNT = 48, 8, 4


def problem(*, known: bool = True) -> tuple[Problem, torch.Tensor]:
    """Features that say nothing of three classes, and encoders that know them, or say nothing either."""
    draws = torch.Generator().manual_seed(0)
    truth = torch.arange(IMAGES) % 3
    labels = torch.where(torch.arange(IMAGES) < 24, truth, -1)
    features = torch.randn(IMAGES, 2, 12, generator=draws)
    centres = torch.eye(WIDTH)[truth][:, None] * (3.0 if known else 0.0)
    blocks = [normalize(centres + torch.randn(IMAGES, 2, WIDTH, generator=draws), dim=2) for _ in range(COUNT)]
    plain = problem_of(features, labels, ("a", "b", "c"), width=12, heads=HeadSettings(steps=5))
    encoded = Encoded(torch.cat(blocks, 2).half(), COUNT, 0.2)
    return with_encoders(plain, torch.cat([features, encoded.embeddings.float()], 2), encoded), truth


def test_a_label_is_judged_by_the_encoder_that_was_not_shown_it() -> None:
    found, _ = problem()
    cross = TrainedEncoders.cross_fit(found)
    assert found.fold_count == COUNT and found.encoded is not None
    for fold in range(COUNT):
        own = slice(fold * WIDTH, (fold + 1) * WIDTH)
        rows, shown = (found.fold == fold).nonzero().flatten(), found.shown(fold)
        views = found.encoded.embeddings[found.labelled].float()[..., own]
        support, labels = views.mean(1), found.support_labels
        votes = [soft_vote(views[rows, v], support[shown], labels[shown], 3, 0.2, balanced=True) for v in range(2)]
        assert torch.equal(cross.held_out[rows].argmax(1), torch.stack(votes).mean(0).argmax(1))
    assert (cross.held_out.argmax(1) == found.support_labels).float().mean() > 0.9


def test_what_features_say_stays_as_it_is_and_the_classifier_reads_both() -> None:
    found, truth = problem()
    fitted = fit_problem(found)
    assert {row.method for row in fitted.scores} >= {"encoders", "combination", "paws"}
    right = (fitted.classifier.votes(torch.as_tensor(found.views)).probabilities.argmax(1) == truth).float().mean()
    assert right > 0.9
    again = Classifier.restored(fitted.classifier.config(), fitted.classifier.state_dict())
    plain = torch.as_tensor(found.views)[:, 0]
    assert torch.equal(again.votes(plain).probabilities, fitted.classifier.votes(plain).probabilities)
    blind = torch.cat([plain[:, :12], torch.zeros(IMAGES, COUNT * WIDTH)], 1)
    heads = fitted.classifiers["paws"]
    assert torch.equal(heads.votes(plain).probabilities, heads.votes(blind).probabilities), "it reads no encoder"
    encoders = classifier_of(found, found.cross_fitted(TrainedEncoders))
    other = torch.cat([torch.randn(IMAGES, 12), plain[:, 12:]], 1)
    assert torch.allclose(encoders.votes(plain).probabilities, encoders.votes(other).probabilities), "it reads no feature"


def test_held_out_labels_move_the_weight_of_encoders_most() -> None:
    draws = torch.Generator().manual_seed(1)
    labels = torch.arange(60) % 3
    noise = torch.randn(3, 60, 3, generator=draws).log_softmax(2)
    right = (4 * torch.eye(3)[labels]).log_softmax(1)
    wrong = (4 * torch.eye(3)[(labels + torch.randint(3, (60,), generator=draws)) % 3]).log_softmax(1)
    start = start_weights(labels, 3, encoders=True)
    trusted, doubted = (fit_weights(torch.cat([noise, last[None]]), labels, start, encoders=True) for last in (right, wrong))
    assert trusted[3] / trusted[:3].sum() > 1.5 * start[3] / start[:3].sum()
    assert doubted[3] < 0.5 * start[3]


def test_encoders_that_err_apart_weigh_more_than_the_one_that_judges() -> None:
    """Held-out labels judge one encoder; of equally good ones those that agree get no more, others more than that."""
    draws = torch.Generator().manual_seed(2)
    truth = torch.arange(IMAGES) % 3
    centres, noise = 3.0 * torch.eye(WIDTH)[truth], torch.randn(COUNT, IMAGES, WIDTH, generator=draws)
    factors = []
    for errors in (noise, noise[:1].expand(COUNT, -1, -1)):
        found, _ = problem()
        assert found.encoded is not None
        blocks = [normalize(centres + 2.5 * error, dim=1)[:, None].expand(-1, 2, -1) for error in errors]
        found = replace(found, encoded=replace(found.encoded, embeddings=torch.cat(blocks, 2).half()), _shared={})
        fitted, prior = found.fitted(Combination).weights, frequencies(found)
        logs = even([found.cross_fitted(part).held_out[found.held] for part in parts_of(found)], prior)
        start = start_weights(found.support_labels, 3, encoders=True)
        share = (1 - 1 / COUNT) ** LEARNING
        judged = fit_weights(logs, found.support_labels[found.held], start * share, encoders=True) / share
        assert torch.allclose(fitted[:3], judged[:3])
        factors.append(float(fitted[3] / judged[3]))
    apart, alike = factors
    assert apart > 1.2 and apart > 1.1 * alike


def test_the_teacher_counts_as_much_as_it_tells_of_held_out_labels() -> None:
    labels = torch.where(torch.arange(IMAGES) < 24, torch.arange(IMAGES) % 3, -1)
    noise = torch.randn(IMAGES, 2, 12, generator=torch.Generator().manual_seed(0))
    clear = noise + 9 * torch.eye(12)[torch.arange(IMAGES) % 3][:, None]
    recipe = RECIPES["scratch"]
    knows, guesses = (
        teacher_share(problem_of(features, labels, ("a", "b", "c"), width=12, heads=HeadSettings(steps=5)), recipe)
        for features in (clear, noise)
    )
    assert knows > 0.9 and guesses < 0.6
    single = torch.where(torch.arange(IMAGES) < 3, labels, -1)
    assert teacher_share(problem_of(clear, single, ("a", "b", "c"), width=12), recipe) == recipe.teacher


def test_the_combination_knows_what_it_reads() -> None:
    found, _ = problem(known=False)
    useless, useful = (each.fitted(Combination).weights[3] for each in (found, problem()[0]))
    assert useless < 0.6 * useful
    assert found.fitted(Combination).reads == "both"
