"""SimCLR+CT pre-training: NT-Xent on unlabelled views, SuNCEt on the support batch at first (arXiv 2006.10803)."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from paws.config.schema import Config, Count, Positive, Recipe
from paws.data.source import Batch, Source
from paws.data.task import Task
from paws.distributed import gather, rank
from paws.errors import InputError
from paws.losses import nt_xent
from paws.methods.base import Method, suncet_of
from paws.methods.build import check_positives, large_view, multi_crop, source_of


class SimclrCtSettings(Recipe):
    """SimCLR with SuNCEt on the support batch for the first epochs (arXiv 2006.10803)."""

    name: Literal["simclr_ct"] = "simclr_ct"
    temperature: Positive = Field(0.1, description="by which the cosines of both losses are divided")
    supervised_epochs: Count = Field(100, description="epochs with the SuNCEt term")
    key_gradient: bool = Field(False, description="take NT-Xent's gradient through the keys too")


class SimclrCt(Method):
    """B unlabelled images in two views, S support images in V views, W ranks, C classes, D embedding."""

    title, Settings = "SimCLR+CT", SimclrCtSettings

    def __init__(self, encoder: nn.Module, source: Source, settings: SimclrCtSettings) -> None:
        self.encoder, self.source, self.settings = encoder, source, settings
        self.loss_settles = settings.supervised_epochs

    @classmethod
    def build(cls, config: Config, task: Task, device: torch.device) -> Self:
        """Pre-train the config's encoder; InputError for small views, or too few of the support images."""
        assert isinstance(config.recipe, SimclrCtSettings)
        if config.views.small:
            raise InputError(f"views.small={config.views.small}: simclr_ct compares two large views; set views.small=0")
        check_positives(config)
        source = source_of(config, task, device, views=multi_crop(config, task), support_view=large_view(config, task))
        return cls(cls.network(config, task, device), source, config.recipe)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """NT-Xent on all images, and in the first epochs SuNCEt; supports always pass through the batch norms."""
        _, z = self.encoder([*batch.views, *batch.support])  # (2B + V*S, D)
        unlabelled, supports = z.split([2 * len(batch.indices), len(z) - 2 * len(batch.indices)])
        contrastive = nt_xent(
            unlabelled,
            self.settings.temperature,
            keys=gather(unlabelled),  # (W*2B, D)
            offset=rank() * len(unlabelled),
            key_gradient=self.settings.key_gradient,
        )
        supervised = suncet_of(supports, self.source, self.settings.temperature)
        with_labels = float(batch.step // self.source.steps_per_epoch < self.settings.supervised_epochs)
        return contrastive + with_labels * supervised, {"nt_xent": contrastive, "suncet": supervised}
