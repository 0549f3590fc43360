"""Embeddings of images, and the baselines that frozen features or pixels give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn


@torch.inference_mode()
def embed(encoder: nn.Module, batches: Iterable[Tensor], *, embedding: str = "z") -> Tensor:
    """Embeddings (N, D) float32 on the CPU of batches (B, ch, H, W) of normalised views, in eval mode and fp32.

    ``embedding``: z (after the prediction head where there is one), h (after the projection head), or backbone.
    """
    training = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        if embedding == "backbone":
            return torch.cat([encoder.backbone(batch).float().cpu() for batch in batches])  # type: ignore[operator]
        return torch.cat([encoder(batch)[embedding == "z"].float().cpu() for batch in batches])  # (h, z)[1] is z
    finally:
        for module, was in training.items():  # one by one: batch norms may be frozen in a network that trains
            module.training = was


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
