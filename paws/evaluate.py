"""Evaluation: soft nearest neighbours on embeddings, and the baselines that frozen features or pixels give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


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


def soft_nn_predict(
    query: Tensor,
    support: Tensor,
    labels: Tensor,
    num_classes: int,
    temperature: float = 0.1,
    *,
    own: Tensor | None = None,
    chunk: int = 4096,
) -> Tensor:
    """Class probabilities (Q, C) of queries (Q, D) by the vote of supports (S, D) with class ids (S,) int64.

    Streams over ``chunk`` queries and ``chunk`` supports at a time, so that memory grows with neither Q times S nor S times C.
    ``own`` (Q,) names for each query a support that may not vote for it: leave-one-out where the queries are the supports.
    Equals ``paws.losses.soft_nn`` on one-hot rows (arXiv 2104.13963, eq. 1). At least one support, two with ``own``.
    """
    owns = repeat(None) if own is None else own.split(chunk)
    parts = zip(query.split(chunk), owns, strict=False)
    return torch.cat([_vote(part, support, labels, num_classes, temperature, each, chunk) for part, each in parts])


def _vote(
    query: Tensor, support: Tensor, labels: Tensor, num_classes: int, temperature: float, own: Tensor | None, chunk: int
) -> Tensor:
    """The vote (q, C) summed over chunks of supports, each vote relative to the largest seen so far (online softmax)."""
    query = normalize(query, dim=1) / temperature
    largest = query.new_full((len(query), 1), -torch.inf)
    votes = query.new_zeros(len(query), num_classes)
    for start in range(0, len(support), chunk):
        classes = labels[start : start + chunk]  # (s,)
        logits = query @ normalize(support[start : start + chunk], dim=1).T  # (q, s)
        if own is not None:
            logits.masked_fill_(torch.arange(start, start + len(classes), device=own.device) == own[:, None], -torch.inf)
        former, largest = largest, torch.maximum(largest, logits.amax(1, keepdim=True))
        shift = largest.clamp_min(torch.finfo(query.dtype).min)  # -inf while the only support so far is its own
        votes = (votes * (former - shift).exp()).index_add_(1, classes, (logits - shift).exp_())
    return votes / votes.sum(1, keepdim=True)


def accuracy(probabilities: Tensor, labels: Tensor, k: int = 1) -> float:
    """Share in [0, 1] of rows (Q, C) whose label (Q,) is among the ``k`` most probable classes."""
    return _hits(probabilities, labels, k).double().mean().item()


def _hits(probabilities: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    k = min(k, probabilities.shape[1])
    return (probabilities.topk(k, dim=1).indices == labels[:, None]).any(1)  # (Q,)


def figures(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """What is reported of predictions (Q, C), probabilities or logits, of labels (Q,): shares in [0, 1].

    ``top1``, ``top5``, ``per_class`` (top-1 by class name, of the classes that occur) and the number ``test_images``.
    """
    hits = _hits(probabilities, labels).double()
    counts = torch.bincount(labels, minlength=len(classes))  # (C,)
    shares = (torch.bincount(labels, hits, minlength=len(classes)) / counts).tolist()  # (C,)
    return {
        "top1": accuracy(probabilities, labels),
        "top5": accuracy(probabilities, labels, 5),
        "per_class": {name: share for name, share, count in zip(classes, shares, counts.tolist(), strict=True) if count},
        "test_images": len(labels),
    }


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
