"""The small networks behind a backbone: projection head, prediction head, classifier of the fine-tuning.

Layer names are those of the published checkpoints, so that weights pass between the two by renaming the root alone.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def projection_head(in_dim: int, out_dim: int, hidden_dim: int | None = None) -> nn.Sequential:
    """(N, in_dim) -> (N, out_dim): the 3-layer MLP with batch norm of arXiv 2104.13963; hidden_dim is in_dim if absent."""
    hidden_dim = hidden_dim or in_dim
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(in_dim, hidden_dim),
            bn1=nn.BatchNorm1d(hidden_dim),
            relu1=nn.ReLU(inplace=True),
            fc2=nn.Linear(hidden_dim, hidden_dim),
            bn2=nn.BatchNorm1d(hidden_dim),
            relu2=nn.ReLU(inplace=True),
            fc3=nn.Linear(hidden_dim, out_dim),
        )
    )


def prediction_head(dim: int, bottleneck: int = 4) -> nn.Sequential:
    """(N, dim) -> (N, dim) through dim // bottleneck units, behind the projection head (arXiv 2104.13963)."""
    hidden_dim = max(dim // bottleneck, 1)
    return nn.Sequential(
        OrderedDict(
            bn1=nn.BatchNorm1d(dim),
            fc1=nn.Linear(dim, hidden_dim),
            bn2=nn.BatchNorm1d(hidden_dim),
            relu=nn.ReLU(inplace=True),
            fc2=nn.Linear(hidden_dim, dim),
        )
    )


class ProjectionClassifier(nn.Sequential):
    """(N, in_dim) -> logits (N, num_classes): a linear classifier after the first layer of the projection head.

    ``fc1`` and ``bn1`` continue from pre-training (the fine-tuning of arXiv 2104.13963). ``zero_init`` starts the
    classifier ``fc2`` at zero, i.e. at equal probabilities.
    """

    def __init__(self, in_dim: int, num_classes: int, hidden_dim: int | None = None, *, zero_init: bool = True) -> None:
        hidden_dim = hidden_dim or in_dim
        layers = OrderedDict(
            fc1=nn.Linear(in_dim, hidden_dim),
            bn1=nn.BatchNorm1d(hidden_dim),
            relu1=nn.ReLU(inplace=True),
            fc2=linear_classifier(hidden_dim, num_classes, zero_init=zero_init),
        )
        super().__init__(layers)


def linear_classifier(in_dim: int, num_classes: int, *, zero_init: bool = True) -> nn.Linear:
    """(N, in_dim) -> logits (N, num_classes), all zero at the start if ``zero_init``."""
    linear = nn.Linear(in_dim, num_classes)
    if zero_init:
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear
