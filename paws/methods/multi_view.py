"""PAWS with multi-view targets: all views predict what the large ones say together (arXiv 2311.17093)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from paws.losses import log_soft_nn
from paws.methods.paws import Paws, PawsSettings


class MultiViewSettings(PawsSettings):
    """PAWS whose targets are the mean vote of the large views, as in arXiv 2311.17093."""

    name: Literal["multi_view"] = "multi_view"  # type: ignore[assignment]


class MultiView(Paws):
    """PAWS in which a view does not predict the other one, but the sharpened mean of both votes."""

    title, Settings = "PAWS, multi-view targets", MultiViewSettings

    def target_vote(self, targets: Tensor, support: Tensor) -> Tensor:
        """Log of the mean (2B, C) of the votes on both views (2B, D) of an image, the same for view 1 and view 2."""
        source, temperature = self.source, self.settings.temperature
        labels = source.labels.to(targets.device)
        log_p = log_soft_nn(targets, support, labels, source.num_classes, source.smoothing, temperature)
        return torch.logaddexp(*log_p.chunk(2)).sub(math.log(2)).repeat(2, 1)
