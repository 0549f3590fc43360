"""Features with known labels, to measure on: a pool to label from and a test set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """``pool`` (N, D) float32 with ``labels`` (N,), ``test`` (T, D) with ``test_labels`` (T,), int64 in [0, num_classes)."""

    pool: Tensor
    labels: Tensor
    test: Tensor
    test_labels: Tensor
    num_classes: int = 10


def digits_pixels(tune: bool = False) -> Features:
    """scikit-learn's digits, 64 pixels each: 1,297 images to label from, 500 to test on.

    With ``tune`` none of the 500: 797 to label from, 500 others to choose settings by.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(pixels).float() / 16, torch.from_numpy(labels).long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, pool = (order[500:1000], order[1000:]) if tune else (order[:500], order[500:])
    return Features(x[pool], y[pool], x[test], y[test])


def fashion_lite0(tune: bool = False) -> Features:
    """Fashion-MNIST as EfficientNet-Lite0 sees it, 1,280 features: 10,000 images to label from, 10,000 to test on.

    With ``tune`` training images stand in for the test images.
    """
    from benchmarks.fashion import fashion_features

    data = fashion_features(tune=tune)
    pool = torch.from_numpy(np.array(data.views[:, 0])).float()  # the plain view
    return Features(pool, data.labels, data.test.float(), data.test_labels)
