"""Soft nearest neighbours: the vote of labelled embeddings on others (arXiv 2104.13963, eq. 1).

Letters: Q queries, S supports, D embedding, C classes. `paws.losses` has the same vote on label rows, for training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import repeat

import torch
from torch import Tensor
from torch.nn.functional import normalize


def soft_vote(
    query: Tensor,
    support: Tensor,
    labels: Tensor,
    num_classes: int,
    temperature: float = 0.1,
    *,
    balanced: bool = False,
    own: Tensor | None = None,
    chunk: int = 4096,
) -> Tensor:
    """Class probabilities (Q, C) of queries (Q, D) by the vote of supports (S, D) with class ids (S,) int64.

    Streams over ``chunk`` queries and ``chunk`` supports at a time, so that memory grows with neither Q times S nor S times C.
    At least one support, two with ``own``. Equals ``paws.losses.soft_nn`` on one-hot rows.

    Args:
        temperature: of the cosines, > 0.
        balanced: every class has the same weight, however many supports it has.
        own: (Q,) int64, for each query a support that may not vote for it; ``torch.arange(S)`` excludes each support from the
            vote on itself where the queries are the supports (leave-one-out).
    """
    support = normalize(support, dim=1)
    counts = class_counts(labels, num_classes) if balanced else None
    owns: Iterable[Tensor | None] = repeat(None) if own is None else own.split(chunk)
    parts = zip(normalize(query, dim=1).split(chunk), owns, strict=False)
    return torch.cat([_streamed(part, support, labels, num_classes, temperature, counts, each, chunk) for part, each in parts])


def vote_weights(
    query: Tensor,
    support: Tensor,
    labels: Tensor,
    num_classes: int,
    temperature: float = 0.1,
    *,
    balanced: bool = False,
    own: Tensor | None = None,
) -> Tensor:
    """Share (Q, S) of each support in the vote of `soft_vote` with the same arguments; rows sum to 1. Exportable to ONNX."""
    counts = class_counts(labels, num_classes) if balanced else None
    return _logits(normalize(query, dim=1), normalize(support, dim=1), labels, temperature, counts, labels, own).softmax(1)


def floor(num_classes: int, temperature: float) -> float:
    """The share that a soft vote leaves to each other class where one is as near, and all others as far, as can be.

    C unit vectors are furthest apart as a regular simplex, with cosines of -1 / (C - 1).
    """
    if num_classes < 2:
        return 0.0
    return 1 / (math.exp(num_classes / (num_classes - 1) / temperature) + num_classes - 1)


def above_floor(vote: Tensor, temperature: float) -> Tensor:
    """Probabilities (Q, C): what a balanced vote (Q, C) is above `floor`, which the temperature leaves to every class."""
    above = (vote - floor(vote.shape[1], temperature)).clamp_min(0)
    return above / above.sum(1, keepdim=True)


def one_hot(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(...) class ids -> (..., C) rows of one 1; unlike PyTorch's exportable and of any type."""
    return (labels[..., None] == torch.arange(num_classes, device=labels.device)).to(dtype)


def class_counts(labels: Tensor, num_classes: int) -> Tensor:
    """(C,) float32 number of ``labels`` (S,) in each class; unlike ``torch.bincount`` exportable."""
    return one_hot(labels, num_classes).sum(0)


def _logits(
    query: Tensor,
    support: Tensor,
    classes: Tensor,
    temperature: float,
    counts: Tensor | None,
    labels: Tensor,
    own: Tensor | None,
    start: int = 0,
) -> Tensor:
    """Logits (q, s) of normalised queries and supports of ``classes`` (s,), which begin at ``start`` in ``labels`` (S,)."""
    logits = query @ support.T / temperature
    if counts is not None:
        of_class = counts[classes].to(logits.dtype)  # (s,)
        if own is not None:  # a query does not count in its class
            of_class = (of_class - (labels[own][:, None] == classes).to(logits.dtype)).clamp_min(1)  # (q, s)
        logits = logits - of_class.log()
    if own is None:
        return logits
    return logits.masked_fill(torch.arange(start, start + len(classes), device=logits.device) == own[:, None], -torch.inf)


def _streamed(
    query: Tensor,
    support: Tensor,
    labels: Tensor,
    num_classes: int,
    temperature: float,
    counts: Tensor | None,
    own: Tensor | None,
    chunk: int,
) -> Tensor:
    """The vote (q, C) summed over chunks of supports, each vote relative to the largest seen so far (online softmax)."""
    largest = query.new_full((len(query), 1), -torch.inf)
    votes = query.new_zeros(len(query), num_classes)
    for start in range(0, len(support), chunk):
        classes = labels[start : start + chunk]  # (s,)
        logits = _logits(query, support[start : start + chunk], classes, temperature, counts, labels, own, start)  # (q, s)
        former, largest = largest, torch.maximum(largest, logits.amax(1, keepdim=True))
        shift = largest.clamp_min(torch.finfo(query.dtype).min)  # -inf while the only support so far is its own
        votes = (votes * (former - shift).exp()).index_add_(1, classes, (logits - shift).exp_())
    return votes / votes.sum(1, keepdim=True)
