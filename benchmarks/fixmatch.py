"""A baseline in the manner of FixMatch (arXiv 2001.07685): our own, of the network, views and budget of the methods beside it.

Each unlabelled image is seen weakly (the light view of fine-tuning) and strongly (the full augmentation). Where the weak view's
most likely class has at least ``THRESHOLD``, the strong view must predict it. The labelled images are those of PAWS's support
batch, in the full augmentation. Without the paper's RandAugment, moving average of the weights and seven-fold unlabelled batch.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paws.config.schema import Config, Recipe
from paws.data.source import Batch, Source
from paws.data.task import Task
from paws.data.views import MultiCrop
from paws.methods import Method
from paws.methods.build import encoder_of, large_view, light_view, source_of
from paws.models import Encoder, classifier_from

THRESHOLD = 0.95


class FixMatchSettings(Recipe):
    """Cross-entropy on labelled images and on confident pseudo-labels."""

    name: Literal["fixmatch"] = "fixmatch"


class FixMatch(Method):
    """B unlabelled images in two views, S labelled ones; z of the network are logits."""

    title, Settings = "FixMatch-style", FixMatchSettings
    classifies = True

    def __init__(self, encoder: nn.Module, source: Source) -> None:
        self.encoder, self.source = encoder, source

    @classmethod
    def network(cls, config: Config, task: Task, device: torch.device) -> Encoder:
        """The config's encoder with a linear classifier on the first layer of its head, as in fine-tuning."""
        encoder = encoder_of(config, task, device)
        return classifier_from(encoder, len(task.classes), zero_init=False, seed=config.seed).to(device)

    @classmethod
    def build(cls, config: Config, task: Task, device: torch.device) -> Self:
        """On all images of the pool, with a support batch of labelled ones."""
        views = MultiCrop(light_view(config, task), large_view(config, task), n_large=1, n_small=1)
        source = source_of(config, task, device, views=views, support_view=large_view(config, task))
        return cls(cls.network(config, task, device), source)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Both cross-entropies, of equal weight; images without a confident pseudo-label count as zero."""
        _, logits = self.encoder([*batch.support, *batch.views])  # (V*S + 2B, C)
        labelled, weak, strong = logits.float().split([sum(map(len, batch.support)), *map(len, batch.views)])
        confidence, pseudo = weak.detach().softmax(1).max(1)  # (B,)
        confident = (confidence >= THRESHOLD).float()
        supervised = cross_entropy(labelled, self.source.labels.to(labelled.device))
        unsupervised = (cross_entropy(strong, pseudo, reduction="none") * confident).mean()
        return supervised + unsupervised, {"supervised": supervised, "confident": confident.mean()}
