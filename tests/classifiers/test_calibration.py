"""Calibration against naive computations and known answers."""

import pytest
import torch

from paws.classifiers.calibration import (
    MARGIN,
    calibrated,
    confident_threshold,
    fit_inverse_temperature,
)
from paws.metrics import calibration_error


def made(n=4000, classes=4, inverse_temperature=0.5, seed=0):
    """True class probabilities, labels drawn from them, and an overconfident version of the probabilities."""
    g = torch.Generator().manual_seed(seed)
    p = (2 * torch.randn(n, classes, generator=g)).softmax(1)
    labels = torch.multinomial(p, 1, generator=g).flatten()
    return p, labels, calibrated(p, 1 / inverse_temperature)


def error(p, labels):
    confidence, predicted = p.max(1)
    return calibration_error(confidence, predicted == labels)


def test_temperature_scaling_undoes_overconfidence():
    _, labels, overconfident = made()
    assert fit_inverse_temperature(overconfident, labels) == pytest.approx(0.5, rel=0.1)
    assert error(overconfident, labels) > 0.08
    assert error(calibrated(overconfident, fit_inverse_temperature(overconfident, labels)), labels) < 0.03


def test_few_labels_hardly_move_the_temperature_and_many_do():
    _, labels, overconfident = made()
    log_p = overconfident[:20].double().log()
    few = fit_inverse_temperature(overconfident[:20], labels[:20], 0.1)
    found = torch.tensor(few, dtype=torch.float64)
    grid = found * torch.tensor([0.97, 1.0, 1.03])

    def unlikely(a):
        nats = -sum(float((log_p[i] * a).log_softmax(0)[labels[i]]) for i in range(20))
        return nats + float(a.log()) ** 2 / (2 * 0.1**2)

    assert unlikely(grid[1]) < min(unlikely(grid[0]), unlikely(grid[2]))
    assert 0.75 < few < 1 and fit_inverse_temperature(overconfident, labels, 0.1) == pytest.approx(0.5, rel=0.1)


def test_threshold_is_the_lowest_whose_mean_confidence_is_what_was_asked_and_a_margin():
    pool = torch.rand(200, generator=torch.Generator().manual_seed(0))
    for accuracy in (0.7, 0.8):
        wanted = accuracy + MARGIN * (1 - accuracy)
        reached = [float(p) for p in pool if float(pool[pool >= p].double().mean()) >= wanted]
        assert confident_threshold(pool, accuracy) == pytest.approx(min(reached))
    assert confident_threshold(torch.tensor([0.99, 0.98, 0.6]), 0.95) == pytest.approx(0.98)
    assert confident_threshold(torch.tensor([0.9, 0.8]), 0.95) > 1
