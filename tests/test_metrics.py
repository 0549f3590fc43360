"""What is measured of predictions, against formulas and loops."""

from __future__ import annotations

import pytest
import torch

from paws.metrics import calibration_error, figures, reliability, wilson_interval


def test_figures_are_shares_of_the_classes_that_occur():
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1]])
    assert figures(scores, torch.tensor([0, 1, 1, 0]), ("a", "b", "c")) == {
        "top1": 0.75,
        "top5": 1.0,
        "per_class": {"a": 1.0, "b": 0.5},
        "test_images": 4,
    }


def test_wilson_interval_against_its_formula() -> None:
    right, of, z = 37, 50, 1.959963984540054
    share = right / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * ((share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5) / (1 + z * z / of)
    assert wilson_interval(right, of) == pytest.approx((centre - half, centre + half))
    assert wilson_interval(0, 5)[0] == 0
    assert wilson_interval(5, 5)[1] == 1
    assert wilson_interval(0, 0) == (0, 1)


def test_calibration_error_equals_a_loop_over_bins() -> None:
    draws = torch.Generator().manual_seed(0)
    confidence = torch.cat([torch.rand(300, generator=draws), torch.tensor([0.0, 1.0])])
    correct = torch.rand(302, generator=draws) < confidence**2
    total, counts = 0.0, []
    for b in range(15):
        inside = [i for i in range(302) if b / 15 <= float(confidence[i]) < (b + 1) / 15 or (b == 14 and confidence[i] == 1)]
        right = sum(bool(correct[i]) for i in inside) / len(inside)
        total += len(inside) / 302 * abs(right - sum(float(confidence[i]) for i in inside) / len(inside))
        counts.append(len(inside))
    assert calibration_error(confidence, correct) == pytest.approx(total, abs=1e-6)
    assert [found.count for found in reliability(confidence, correct)] == counts


def test_bins_without_a_prediction_are_left_out() -> None:
    found = reliability(torch.tensor([0.91, 0.95]), torch.tensor([True, False]), bins=10)
    assert len(found) == 1
    assert (found[0].count, found[0].accuracy) == (2, 0.5)
    assert found[0].confidence == pytest.approx(0.93)
    assert reliability(torch.empty(0), torch.empty(0)) == []
