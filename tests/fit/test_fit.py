"""Fitting on small synthetic features."""

import pytest
import torch

from paws import classifiers
from paws.bundle.table import abstains
from paws.classifiers.classifier import Classifier
from paws.classifiers.heads import HeadSettings
from paws.errors import InputError
from paws.fit.fit import fit_features

CLASSES = ("cat", "dog", "owl")
SHORT = HeadSettings(heads=4, steps=40, batch_size=32, hidden_dim=16, out_dim=8, lr=1e-2)


def blobs(n=120, views=3, dim=24, spread=0.3, seed=0):
    """Views (n, views, dim) of three clusters in a few directions, with their classes."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.arange(n) % 3
    centres = torch.randn(3, dim, generator=g)
    images = centres[truth] + spread * torch.randn(n, dim, generator=g)
    return (images[:, None] + 0.3 * torch.randn(n, views, dim, generator=g)).half(), truth


def some_labels(truth, per_class):
    labels = torch.full_like(truth, -1)
    for c in range(3):
        rows = (truth == c).nonzero().flatten()[:per_class]
        labels[rows] = c
    return labels


@pytest.mark.parametrize("per_class", [1, 4])
def test_fit_classifies_and_survives_a_round_trip(per_class):
    views, truth = blobs()
    fitted = fit_features(views, some_labels(truth, per_class), CLASSES, settings=SHORT, test=(views[:, 0], truth))
    assert {s.method for s in fitted.scores} == set(classifiers.table())
    votes = fitted.classifier.votes(views[:, 0])
    assert (votes.probabilities.argmax(1) == truth).float().mean() > 0.9
    assert fitted.held_out.shape == (3 * per_class, 3)
    again = Classifier.from_config(fitted.classifier.config())
    again.load_state_dict(fitted.classifier.state_dict())
    assert torch.equal(again.votes(views[:, 0]).probabilities, votes.probabilities)
    if per_class == 1:
        assert abstains(1.0, float(fitted.classifier.threshold), strange=0.0) and not fitted.judged


@pytest.mark.parametrize("method", classifiers.table())
def test_every_method_can_be_asked_for(method):
    views, truth = blobs()
    fitted = fit_features(views, some_labels(truth, 3), CLASSES, settings=SHORT, model=method)
    assert fitted.chosen == method == fitted.classifier.predictor.name
    votes = fitted.classifier.votes(views[:, 0])
    assert torch.allclose(votes.probabilities.sum(1), torch.ones(len(views)), atol=1e-5)
    assert votes.neighbours.shape == (len(views), 3)
    again = Classifier.from_config(fitted.classifier.config())
    again.load_state_dict(fitted.classifier.state_dict())
    assert torch.equal(again.votes(views[:, 0]).probabilities, votes.probabilities)
    assert fitted.classifier.leave_one_out().shape == (9, 3)


def test_bad_input():
    views, truth = blobs()
    with pytest.raises(InputError, match="cover exactly the classes"):
        fit_features(views, torch.full_like(truth, -1), CLASSES, settings=SHORT)
    with pytest.raises(InputError, match="model 'svm'"):
        fit_features(views, some_labels(truth, 1), CLASSES, settings=SHORT, model="svm")


def test_one_view_of_every_image_is_enough():
    views, truth = blobs(views=1)
    fitted = fit_features(views.float().numpy(), some_labels(truth, 6), CLASSES, settings=SHORT, model="paws")
    assert fitted.settings["dropout"] > 0
    assert (fitted.classifier.votes(views[:, 0]).probabilities.argmax(1) == truth).float().mean() > 0.8


def test_copies_do_not_make_random_labels_look_right():
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(24, 1, 16, generator=generator).repeat(2, 1, 1)  # every image twice
    labels = torch.randint(0, 2, (24,), generator=generator).repeat(2)
    copies = torch.arange(24).repeat(2)
    apart = fit_features(views, labels, ("a", "b"), settings=SHORT)
    together = fit_features(views, labels, ("a", "b"), settings=SHORT, groups=copies)
    mean = [sum(score.accuracy for score in fitted.scores) / len(fitted.scores) for fitted in (apart, together)]
    assert mean[0] > 0.8 and mean[1] < 0.7
