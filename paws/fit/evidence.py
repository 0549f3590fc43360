"""From predictions held against labels to the figures of a record, each with its provenance."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from paws.fit.record import Bin, Calibration, Figure, Images, Provenance
from paws.metrics import calibration_error, reliability, wilson_interval


def share(right: int, count: int, provenance: Provenance, images: Images = "labelled") -> Figure:
    """The share ``right`` of ``count`` with its interval; no figure of no image."""
    if not count:
        return Figure(images=images)
    return Figure(
        value=right / count, provenance=provenance, count=count, images=images, interval=wilson_interval(right, count)
    )


def accuracy(probabilities: Tensor, labels: Tensor, provenance: Provenance, images: Images = "labelled") -> Figure:
    """Share of M images whose most probable class of (M, C) is their label (M,)."""
    return share(int((probabilities.argmax(1) == labels).sum()), len(labels), provenance, images)


def calibration(probabilities: Tensor, labels: Tensor, provenance: Provenance, images: Images = "labelled") -> Calibration:
    """Calibration of probabilities (M, C) against labels (M,)."""
    if not len(labels):
        return Calibration(error=Figure(images=images))
    confidence, predicted = probabilities.max(1)
    correct = predicted == labels
    error = Figure(value=calibration_error(confidence, correct), provenance=provenance, count=len(labels), images=images)
    return Calibration(error=error, bins=tuple(Bin(**asdict(found)) for found in reliability(confidence, correct)))


def can_be_left_out(labels: Tensor, groups: Tensor | None = None) -> Tensor:
    """(S,) bool of labelled images with labels (S,): whether another one, not of the same group (S,), has the same label."""
    groups = torch.arange(len(labels)) if groups is None else groups
    once = torch.stack([labels, groups], 1).unique(dim=0)[:, 0]  # the class of each (class, group)
    return torch.bincount(once)[labels] > 1
