"""PAWS with a teacher: targets are mixed with what others say of an image, as in the training of heads on frozen features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from paws.data.source import Batch, Source
from paws.losses import log_soft_nn
from paws.methods.paws import Paws, PawsSettings

DOUBT = 1e-4  # least probability that the teacher gives to a class


class TaughtPaws(Paws):
    """PAWS whose targets are (1 - w) * the vote + w * the teacher's log-probabilities (N, C) of the images, sharpened together.

    w is ``share``; ``prior`` (C,) are the class frequencies that me-max expects.
    """

    def __init__(
        self, encoder: nn.Module, source: Source, settings: PawsSettings, teacher: Tensor, share: float, prior: Tensor
    ) -> None:
        super().__init__(encoder, source, settings, prior=prior)
        self.share = share
        self.teacher = teacher.clamp_min(math.log(DOUBT))
        self.images = torch.empty(0, dtype=torch.int64)  # of the step under way

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """PAWS's loss with taught targets."""
        self.images = batch.indices
        return super().step(batch)

    def target_vote(self, targets: Tensor, support: Tensor) -> Tensor:
        """Log-probabilities (2B, C) that views are to predict."""
        settings, labels = self.settings, self.source.labels.to(targets.device)
        vote = log_soft_nn(targets, support, labels, self.source.num_classes, self.source.smoothing, settings.temperature)
        guide = self.teacher[self.images.to(self.teacher.device)].repeat(2, 1)
        return (1 - self.share) * vote + self.share * guide
