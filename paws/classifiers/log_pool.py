"""The logarithmic pool of several predictors: a weighted sum of their log-probabilities, with weights by held-out labels.

Letters: M predictors, N images, S held-out labels, C classes, K changes of the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paws.optim import uncompiled


def pooled(logs: Tensor, weights: Tensor, prior: Tensor) -> Tensor:
    """(N, C) probabilities from log-probabilities (M, N, C), weights (M,) and class frequencies (C,)."""
    return ((weights[:, None, None] * logs).sum(0) + prior.log()).softmax(1)


def each_and_all(count: int, each: float, every: float) -> tuple[Tensor, Tensor]:
    """Changes (M, M + 1) of each of ``count`` weights and of all at once, and the penalties (M + 1,) on their squares."""
    return torch.cat([torch.eye(count), torch.ones(count, 1)], 1), torch.tensor([each] * count + [every])


def fit_weights(logs: Tensor, labels: Tensor, start: Tensor, moves: Tensor, penalties: Tensor) -> Tensor:
    """(M,) weights by the log-loss of held-out labels (S,), in which every class weighs the same.

    Penalties on changes of their logarithms hold them to ``start``: few labels hardly move them.

    Args:
        logs: (M, S, C) held-out log-probabilities, for which all classes are alike.
        labels: (S,) their classes.
        start: (M,) weights without any label.
        moves: (M, K) what each change adds to the logarithm of each weight.
        penalties: (K,) on the squares of the changes, in units of the log-loss of one label.
    """
    change = torch.zeros(len(penalties), requires_grad=True)
    share = 1 / torch.bincount(labels)[labels].float()
    share = share / share.mean()
    optimizer = uncompiled(torch.optim.LBFGS)([change], max_iter=30, line_search_fn="strong_wolfe")

    def weights() -> Tensor:
        return start * (moves @ change).exp()

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = torch.einsum("m,mnc->nc", weights(), logs).log_softmax(1)
        value = -(share * found[torch.arange(len(labels)), labels]).sum()
        value = value + (penalties * change.square()).sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return weights().detach()
