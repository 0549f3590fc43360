"""The classifier: calibrated votes, neighbours, other labels without training, and export."""

import pytest
import torch

from paws.classifiers.classifier import Classifier
from paws.classifiers.combination import Combination
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.nearest_neighbours import NearestNeighbours
from paws.classifiers.paws_ensemble import PawsEnsemble, head
from paws.classifiers.soft_nearest_neighbours import SoftNearestNeighbours
from paws.errors import InputError

CLASSES = ("cat", "dog")


IDENTITY = torch.nn.Identity()


def made(predictor=None, n=6, dim=5, **more):
    g = torch.Generator().manual_seed(0)
    support, labels = torch.randn(n, dim, generator=g), torch.arange(n) % 2
    predictor = predictor or PawsEnsemble(2, [head(dim, 8, 4), head(dim, 8, 4)], 0.2, IDENTITY)
    return Classifier(CLASSES, predictor, torch.full((dim,), 0.5), torch.full((dim,), 2.0), support, labels, **more)


def queries(n=10):
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(1))


def test_votes_are_sorted_shares_of_a_calibrated_vote():
    classifier, x = made(calibration=0.5), queries()
    votes = classifier.votes(x, k=3, chunk=4)
    assert votes.neighbours.shape == votes.weights.shape == (10, 3)
    assert (votes.weights.diff(dim=1) <= 0).all() and (votes.weights.sum(1) <= 1 + 1e-6).all()
    classifier.calibration.fill_(1.0)
    raw = classifier.votes(x).probabilities
    assert torch.allclose(votes.probabilities, raw.sqrt() / raw.sqrt().sum(1, keepdim=True), atol=1e-5)
    for i in range(10):
        a, b = (x[i] - 0.5) / 2, (classifier.support - 0.5) / 2
        assert votes.novelty[i] == pytest.approx(1 - float(torch.cosine_similarity(a[None], b).max()), abs=1e-5)
    assert classifier.votes(classifier.support).novelty.abs().max() < 1e-5


def test_embedding_compares_as_the_vote_does():
    classifier, x = made(), queries()
    a, b = classifier.embed(x), classifier.embed(classifier.support)
    assert torch.allclose(a.norm(dim=1), torch.ones(10), atol=1e-5)
    cosines = [
        torch.nn.functional.normalize(h((x - 0.5) / 2), dim=1)
        @ torch.nn.functional.normalize(h((classifier.support - 0.5) / 2), dim=1).T
        for h in classifier.predictor.heads
    ]
    assert torch.allclose(a @ b.T, torch.stack(cosines).mean(0), atol=1e-5)


def test_leaving_one_out_equals_a_classifier_without_it():
    classifier = made()
    left = classifier.leave_one_out()
    for i in range(6):
        rest = torch.arange(6) != i
        without = classifier.with_support(classifier.support[rest], classifier.support_labels[rest], CLASSES)
        assert torch.allclose(left[i], without.votes(classifier.support[i : i + 1]).probabilities[0], atol=1e-5)


def test_labels_can_be_added_and_a_class_too():
    classifier, x = made(calibration=0.7, threshold=0.4), queries()
    support, labels = torch.cat([classifier.support, x[:1]]), torch.cat([classifier.support_labels, torch.tensor([2])])
    wider = classifier.with_support(support, labels, (*CLASSES, "owl"))
    votes = wider.votes(x)
    assert votes.probabilities.shape == (10, 3) and votes.probabilities[0].argmax() == 2
    assert float(wider.threshold) == pytest.approx(0.4) and float(wider.calibration) == pytest.approx(0.7)
    with pytest.raises(InputError, match="no labelled image of: owl"):
        classifier.with_support(classifier.support, classifier.support_labels, (*CLASSES, "owl"))


def test_what_other_methods_do_with_new_labels():
    base = made()
    standardised = (base.support - base.mean) / base.scale
    linear = made(LogisticRegression.of(standardised, base.support_labels, 2))
    flipped = linear.with_support(linear.support, 1 - linear.support_labels, CLASSES)
    assert torch.allclose(flipped.votes(queries()).probabilities, linear.votes(queries()).probabilities.flip(1), atol=1e-3)
    assert made(NearestNeighbours(2, 1)).with_support(base.support, 1 - base.support_labels, CLASSES).predictor.k == 1
    with pytest.raises(InputError, match="fit again"):
        made(LabelSpreading(2, base.support, torch.rand(6, 2), 2, IDENTITY, cosine=False)).with_support(
            base.support, base.support_labels, CLASSES
        )


@pytest.mark.parametrize(
    "predictor",
    [
        PawsEnsemble(2, [head(5, 8, 4)], 0.2, IDENTITY),
        SoftNearestNeighbours(2),
        LogisticRegression(2, 5),
        NearestNeighbours(2, 3),
        LabelSpreading(2, torch.rand(6, 5), torch.rand(6, 2), 2),
        Combination(
            2,
            [
                LogisticRegression(2, 5, scaled=True),
                LabelSpreading(2, torch.rand(6, 5), torch.rand(6, 2), 2),
                SoftNearestNeighbours(2),
            ],
            torch.tensor([0.1, 0.3, 0.4]),
            torch.tensor([0.7, 0.3]),
        ),
    ],
    ids=lambda predictor: predictor.name,
)
def test_it_can_be_exported_with_any_number_of_rows(predictor):
    classifier = made(predictor)
    batch = torch.export.Dim("batch")
    program = torch.export.export(classifier, (queries(2),), dynamic_shapes=({0: batch},))
    for ours, theirs in zip(program.module()(queries(7)), classifier(queries(7)), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
