"""The space of all classifiers: standardised features, and their principal components."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.errors import InputError
from paws.seeds import generator

SAMPLE = 4096  # images that mean and scale are computed from, and views of them that components are
PIECE = 256  # scattered images read at a time
CHUNK = 1024  # images projected at a time
ROUNDING = 1e-6  # a column that varies by less, relative to its mean, is constant but for the rounding of float32
TINY = 1e-30  # ... or by less than this
DROPPED = 1e30  # scale of a constant column: whatever a later image has there is divided to nothing

Views = Tensor | np.ndarray


@dataclass(frozen=True)
class Space:
    """Mean and scale (D,) of the features, P orthonormal directions (P, D) of the standardised ones, their variances (P,)."""

    mean: Tensor
    scale: Tensor
    components: Tensor
    variances: Tensor

    def standardise(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., D) float32 of zero mean and unit variance over the pool; columns that are constant there become 0.

        The mean is taken off in the precision of the features: float64 ones may be large beside how much they vary.
        """
        return ((features - self.mean) / self.scale).float()

    def project(self, views: Views) -> Tensor:
        """Stored views (N, V, D) -> their components (N, V, P) float16."""
        out = torch.empty(*views.shape[:2], len(self.components), dtype=torch.float16)
        for start in range(0, len(views), CHUNK):
            part = rows(views, slice(start, start + CHUNK))  # (n, V, D)
            out[start : start + CHUNK] = self.points(part).half()
        return out

    def points(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., P) float32 components."""
        return self.standardise(features) @ self.components.T

    @property
    def whitened(self) -> Tensor:
        """(P, D) the directions, half whitened (below), for a mean variance of 1."""
        return self.components / self.variances[:, None] ** 0.25 / self.variances.sqrt().mean().sqrt()

    def half_whitened(self, width: int) -> nn.Linear:
        """The map from components (..., P) to the first ``width``, each divided by the square root of its deviation.

        That keeps their order of size but lets the small ones speak.
        """
        width = min(width, len(self.components))
        linear = nn.Linear(len(self.components), width, bias=False)
        weight = torch.eye(width, len(self.components)) / self.variances[:width, None] ** 0.25
        linear.weight = nn.Parameter(weight, requires_grad=False)
        return linear


def unit(x: Tensor) -> Tensor:
    """(..., P) -> (..., P) scaled to length sqrt(P): what an image is like, whatever the strength of its features."""
    return normalize(x, dim=-1) * x.shape[-1] ** 0.5


def mean_of_views(views: Tensor) -> Tensor:
    """Components (N, V, P) -> (N, P) of length 1: the mean over the views, each of which weighs the same."""
    return normalize(unit(views).mean(1), dim=1)


def fit_space(views: Views, width: int, *, seed: int = 0) -> Space:
    """Standardisation by a sample of the images in all their views, and the ``width`` largest principal components.

    All components are kept where there are no more than ``width``. All sums are in float64, and columns that are constant
    count for nothing.

    Raises:
        InputError: features that are not finite.
    """
    count = len(views)
    chosen = torch.randperm(count, generator=generator(seed, "space"))[:SAMPLE].sort().values
    sample = rows(views, chosen).flatten(0, 1)  # (n * V, D)
    mean, deviation = sample.mean(0, dtype=torch.float64), torch.zeros(sample.shape[1], dtype=torch.float64)
    if not bool(mean.isfinite().all()):
        raise InputError("the features hold NaN or infinite numbers: is the backbone or its file of weights damaged?")
    for part in sample.split(CHUNK):
        deviation += (part.double() - mean).square().sum(0)
    deviation = (deviation / max(1, len(sample) - 1)).sqrt()  # (D,)
    if not bool(deviation.isfinite().all()):
        raise InputError("the features are too large to be told apart; divide them by a common number")
    scale = torch.where(deviation <= mean.abs() * ROUNDING + TINY, DROPPED, deviation)
    space = Space(mean.float(), scale.float(), torch.empty(0), torch.empty(0))
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    sample = sample[torch.randperm(len(sample), generator=generator(seed, "components"))[:SAMPLE]]
    for part in sample.split(CHUNK):
        standardised = space.standardise(part).double()
        covariance += standardised.T @ standardised
    variances, vectors = _eigen(covariance / len(sample))  # ascending
    variances, vectors = variances[-width:].flip(0).clamp_min(1e-4), vectors[:, -width:].T.flip(0)  # (P,), (P, D)
    return replace(space, components=vectors.float(), variances=variances.float())


def _eigen(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (D,), ascending, and eigenvectors (D, D) of a symmetric float64 matrix."""
    try:
        values, vectors = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:  # divide and conquer may not converge where many eigenvalues are equal; QR iteration does
        found = scipy.linalg.eigh(covariance.numpy(), driver="ev")
        values, vectors = (torch.from_numpy(part) for part in found)
    return values, vectors


def rows(views: Views, chosen: Tensor | slice) -> Tensor:
    """Images ``chosen`` of the stored views as a tensor; nothing else of a memory map is read, and its pages are given back."""
    if isinstance(views, Tensor):
        return views[chosen]
    if isinstance(chosen, Tensor):  # in pieces: where images are far apart the system maps much of what lies between
        return torch.cat([_read(views, part.numpy()) for part in chosen.split(PIECE)])
    return _read(views, chosen)


def _read(views: np.ndarray, chosen: np.ndarray | slice) -> Tensor:
    read = torch.from_numpy(np.array(views[chosen]))
    _release(views)
    return read


def _release(views: np.ndarray) -> None:
    """Give back the pages of a memory map that were read, which would count as memory of this process until it ends."""
    base: Any = views
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)  # changed pages of a shared map go to its file
