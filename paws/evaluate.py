"""Embeddings of images, and the baselines that frozen features or pixels give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def frozen_baselines(
    features: Tensor, labels: Tensor, test_features: Tensor, num_classes: int, *, which: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """What scikit-learn makes of the same features and labels: name -> test probabilities (Q, C).

    ``features`` (N, D) with ``labels`` (N,) of -1 where unlabelled; all of them are standardised by the N rows. Logistic
    regression and kNN see the labelled rows, LabelSpreading all of them.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.semi_supervised import LabelSpreading

    mean, std = features.mean(0), features.std(0).clamp_min(1e-6)
    train, test = ((x - mean).div(std).double().numpy() for x in (features, test_features))
    y = labels.numpy()
    seen = y >= 0
    smallest = int(np.bincount(y[seen]).min())
    models = {
        "logistic regression": lambda: LogisticRegression(max_iter=2000).fit(train[seen], y[seen]),
        "nearest neighbours": lambda: KNeighborsClassifier(min(5, max(1, smallest))).fit(train[seen], y[seen]),
        "LabelSpreading": lambda: LabelSpreading(kernel="knn", n_neighbors=10, max_iter=200).fit(train, y),
    }
    results = {}
    for name in which or models:
        with np.errstate(invalid="ignore", divide="ignore"):  # an image that no label reaches: zero over zero
            model = models[name]()
            found = np.nan_to_num(model.predict_proba(test), nan=1 / num_classes)
        probabilities = np.zeros((len(test), num_classes))
        probabilities[:, model.classes_] = found
        results[name] = torch.from_numpy(probabilities).float()
    return results
