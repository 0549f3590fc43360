"""The losses of PAWS (arXiv 2104.13963) and of SimCLR+CT / SuNCEt (arXiv 2006.10803) as pure functions of tensors.

Letters: N queries, S support samples (of all ranks), C classes, D embedding, B unlabelled images, n small views.
Similarities are cosines divided by a temperature. All arithmetic is at least fp32, also under autocast, and probabilities stay
in log space, so that a temperature of 0.005 gives finite losses and gradients; float64 inputs stay float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

F = TypeVar("F", bound=Callable[..., Any])

TARGET_FLOOR = 1e-4  # entries of a target below this are set to zero, without renormalising (as the published code does)


def _full_precision(loss: F) -> F:
    """Run ``loss`` outside autocast with half-precision tensors cast to fp32."""

    def up(x: Any) -> Any:
        return x.float() if isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16) else x

    @functools.wraps(loss)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        device = next(x.device for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        with torch.autocast(device.type, enabled=False):
            return loss(*map(up, args), **{name: up(value) for name, value in kwargs.items()})

    return wrapped  # type: ignore[return-value]


def smoothed_one_hot(labels: Tensor, num_classes: int, smoothing: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Label rows (N, C) from class ids (N,) int64 in [0, C): smoothing / C everywhere, and 1 - smoothing more on the class.

    Rows sum to 1. ``smoothing`` in [0, 1).
    """
    return one_hot(labels, num_classes).to(dtype) * (1 - smoothing) + smoothing / num_classes  # (N, C)


def _similarity(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    return normalize(queries, dim=-1) @ normalize(keys, dim=-1).mT / temperature  # (..., N, D), (..., S, D) -> (..., N, S)


def _log_vote(log_weights: Tensor, labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """log(exp(log_weights) @ label rows) (N, C) of log weights (N, S) that sum to one, exact where exp would underflow.

    The weights of each class are summed relative to the largest of them; the smoothing is what every class gets besides.
    """
    index = labels.expand_as(log_weights)  # (..., N, S)
    votes = log_weights + log_weights.new_full((), 1 - smoothing).log()  # (..., N, S)
    largest = votes.new_full((*votes.shape[:-1], num_classes), -torch.inf)  # (..., N, C)
    largest = largest.scatter_reduce(-1, index, votes.detach(), "amax")
    # A class without votes, or whose votes are all exp(-inf), keeps -inf; the smallest number in its place avoids inf - inf.
    shift = largest.clamp_min(torch.finfo(votes.dtype).min)
    summed = torch.zeros_like(largest).scatter_add(-1, index, (votes - shift.gather(-1, index)).exp())  # in [1, S] or 0
    log_p = shift + summed.log()  # (..., N, C)
    return torch.logaddexp(log_p, log_p.new_full((), smoothing / num_classes).log()) if smoothing else log_p


@_full_precision
def log_soft_nn(
    queries: Tensor, support: Tensor, labels: Tensor, num_classes: int, smoothing: float = 0.0, temperature: float = 0.1
) -> Tensor:
    """The log of `soft_nn` (..., N, C), exact where it would underflow, from class ids ``labels`` (S,) and their smoothing."""
    log_weights = _similarity(queries, support, temperature).log_softmax(-1)  # (..., N, S)
    return _log_vote(log_weights, labels, num_classes, smoothing)  # (..., N, C)


@_full_precision
def soft_nn(queries: Tensor, support: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Soft nearest-neighbour vote: class probabilities (N, C) of queries (N, D) over support samples (S, D) with labels (S, C).

    p(q) = softmax(q·sᵀ / temperature) @ labels on L2-normalised embeddings (arXiv 2104.13963, eq. 1). Rows sum to 1 when the
    label rows do. ``temperature`` > 0.
    """
    return _similarity(queries, support, temperature).softmax(-1) @ labels.to(
        queries.dtype
    )  # (..., N, S) @ (S, C) -> (..., N, C)


@_full_precision
def sharpen(probabilities: Tensor, temperature: float = 0.25) -> Tensor:
    """Sharpened rows p^(1/T) / sum p^(1/T) of probabilities (N, C), T = ``temperature`` in (0, 1] (arXiv 2104.13963, eq. 2)."""
    return (probabilities.log() / temperature).softmax(1)  # (N, C)


def _identity(x: Tensor) -> Tensor:
    return x


@_full_precision
def me_max(
    probabilities: Tensor, prior: Tensor | None = None, mean_over_ranks: Callable[[Tensor], Tensor] = _identity
) -> Tensor:
    """Mean-entropy maximisation: sum_c a_c log(a_c / prior_c) of the mean row a of probabilities (..., N, C); to be minimised.

    Without ``prior`` (C,) it is minus the entropy of the mean prediction (arXiv 2104.13963, eq. 3), in [-log C, 0]. With one
    it is the divergence of the mean prediction from those class frequencies.
    """
    mean = mean_over_ranks(probabilities.mean(-2))  # (..., N, C) -> (..., C)
    log_mean = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()  # (C,)
    return (mean * (log_mean if prior is None else log_mean - prior.to(mean.dtype).log())).sum(-1)


@_full_precision
def paws_loss(
    anchors: Tensor,
    anchor_support: Tensor,
    targets: Tensor,
    target_support: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    smoothing: float = 0.0,
    temperature: float = 0.1,
    sharpening: float = 0.25,
    prior: Tensor | None = None,
    target_vote: Callable[[Tensor, Tensor], Tensor] | None = None,
    mean_over_ranks: Callable[[Tensor], Tensor] = _identity,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy between the anchors' votes and the targets' sharpened votes, and me-max (arXiv 2104.13963, Alg. 1).

    Embeddings may have leading dimensions, e.g. of several networks that are trained at once: each has a loss of its own.

    Args:
        anchors: ((2 + n)B, D) embeddings of view 1, view 2, then the n small views.
        anchor_support: (S, D) support embeddings the anchors vote with; gradients flow.
        targets: (2B, D) embeddings that say what view 1 and view 2 should predict: the other view. No gradient is taken.
        target_support: (S, D) support embeddings the targets vote with. No gradient is taken.
        labels: (S,) int64 class ids in [0, C) of the support samples.
        num_classes: C.
        smoothing: of the labels, in [0, 1); see `smoothed_one_hot`.
        temperature: of the similarities, > 0.
        sharpening: temperature of the sharpening, in (0, 1].
        prior: (C,) expected class frequencies for me-max; uniform when absent.
        target_vote: makes log-probabilities (2B, C) of ``targets`` and ``target_support``, in place of PAWS's vote; see
            ``paws.methods.ropaws``.
        mean_over_ranks: averages a tensor over processes, for me-max.

    Returns:
        cross-entropy (mean over anchors) and me-max, scalars of the inputs' precision (one for each network), to be added.
    """
    vote = functools.partial(log_soft_nn, labels=labels, num_classes=num_classes, smoothing=smoothing, temperature=temperature)
    with torch.no_grad():
        target = (target_vote or vote)(targets, target_support)  # (2B, C)
    return consistency(vote(anchors, anchor_support), target, sharpening, prior, mean_over_ranks)


@_full_precision
def consistency(
    log_p: Tensor,
    target_log_p: Tensor,
    sharpening: float = 0.25,
    prior: Tensor | None = None,
    mean_over_ranks: Callable[[Tensor], Tensor] = _identity,
) -> tuple[Tensor, Tensor]:
    """What `paws_loss` returns, from log votes on the anchors (..., (2 + n)B, C) and on the targets (..., 2B, C).

    Targets take no gradient; other arguments as there.
    """
    with torch.no_grad():
        target = (target_log_p / sharpening).softmax(-1)  # (2B, C)
        further = log_p.shape[-2] // (target.shape[-2] // 2) - 2  # small views
        if further:  # each of them predicts the mean of both targets, not sharpened again
            view1, view2 = target.chunk(2, dim=-2)
            target = torch.cat([target, *[(view1 + view2) / 2] * further], dim=-2)  # ((2+n)B, C)
        target = target.masked_fill(target < TARGET_FLOOR, 0)
    return _cross_entropy(log_p, target), me_max((log_p / sharpening).softmax(-1), prior, mean_over_ranks)


def _cross_entropy(log_p: Tensor, target: Tensor) -> Tensor:
    """Mean over rows of -sum_c target log p; a class of no target weight costs nothing even where log p is -inf."""
    return -(target * log_p.masked_fill(target == 0, 0)).sum(-1).mean(-1)


@_full_precision
def nt_xent(
    views: Tensor, temperature: float = 0.1, *, keys: Tensor | None = None, offset: int = 0, key_gradient: bool = False
) -> Tensor:
    """SimCLR's contrastive loss of views (2B, D) = [view 1; view 2], mean over the local rows (arXiv 2006.10803, eq. 2).

    ``keys`` (K, D) are the rows of all ranks (default: the views themselves) and ``offset`` is where the local rows begin in
    them. Keys are detached as in the published code, so that a gradient reaches each row as a query only: the value is the
    same, the gradient norm about half of the full one. ``key_gradient=True`` takes the full gradient.
    """
    keys = views if keys is None else keys
    rows = torch.arange(len(views), device=views.device)  # (2B,)
    logits = _similarity(views, keys if key_gradient else keys.detach(), temperature)  # (2B, K)
    logits = logits.masked_fill(_own(logits, rows + offset), -torch.inf)
    positives = (rows + len(views) // 2) % len(views) + offset  # (2B,) the other view of the same image
    return torch.nn.functional.cross_entropy(logits, positives)


@_full_precision
def suncet(
    supports: Tensor,
    labels: Tensor,
    num_classes: int,
    temperature: float = 0.1,
    *,
    smoothing: float = 0.0,
    keys: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Supervised noise-contrastive estimation of supports (S, D), mean over the local rows (arXiv 2006.10803, eq. 1).

    Each row's class is predicted by the soft vote of all other rows: keys (K, D) of all ranks (default: the supports) with
    class ids ``labels`` (K,) in [0, C); the local rows begin at ``offset``. A class with one row makes the loss infinite.
    """
    keys = supports if keys is None else keys
    rows = torch.arange(len(supports), device=supports.device) + offset  # (S,)
    logits = _similarity(supports, keys, temperature)  # (S, K)
    log_weights = logits.masked_fill(_own(logits, rows), -torch.inf).log_softmax(1)  # (S, K)
    target = smoothed_one_hot(labels[rows], num_classes, smoothing, supports.dtype)  # (S, C)
    return _cross_entropy(_log_vote(log_weights, labels, num_classes, smoothing), target)


def _own(logits: Tensor, rows: Tensor) -> Tensor:
    """Mask (N, K) of each query's own column."""
    return torch.arange(logits.shape[1], device=logits.device) == rows[:, None]
