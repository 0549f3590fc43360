"""SuNCEt fine-tuning of a pre-trained encoder on the labelled images (arXiv 2006.10803, section 4)."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from paws.config.schema import Config, Positive, Recipe
from paws.data.source import Batch, Source
from paws.data.task import Task
from paws.distributed import world_size
from paws.methods.base import Method, suncet_of
from paws.methods.build import check_positives, encoder_of, light_view, source_of
from paws.models import Encoder


class SnnFinetuneSettings(Recipe):
    """SuNCEt fine-tuning of a pre-trained encoder on the labelled images."""

    name: Literal["snn_finetune"] = "snn_finetune"
    temperature: Positive = Field(0.1, description="by which the cosines are divided")


class SnnFinetune(Method):
    """S support images in V views, W ranks, C classes, D embedding. Batch norms keep their statistics; their weights train."""

    title, Settings = "SuNCEt fine-tuning", SnnFinetuneSettings

    def __init__(self, encoder: nn.Module, source: Source, settings: SnnFinetuneSettings) -> None:
        self.encoder, self.source, self.settings = encoder, source, settings
        for module in encoder.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    @classmethod
    def network(cls, config: Config, task: Task, device: torch.device) -> Encoder:
        """The config's encoder; its batch norms take no statistics that ranks would have to share."""
        return encoder_of(config, task, device, synchronise=False)

    @classmethod
    def build(cls, config: Config, task: Task, device: torch.device) -> Self:
        """Fine-tune ``model.init_from`` on the labelled images."""
        assert isinstance(config.recipe, SnnFinetuneSettings)
        check_positives(config)
        per_step = config.support.images_per_class * len(task.classes) * world_size()
        steps = max(1, len(task.labelled) // per_step)
        source = source_of(config, task, device, support_view=light_view(config, task), steps_per_epoch=steps)
        return cls(cls.network(config, task, device), source, config.recipe)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """SuNCEt on a class-balanced batch of labelled images."""
        _, z = self.encoder(batch.support)  # (V*S, D)
        loss = suncet_of(z, self.source, self.settings.temperature)
        return loss, {"suncet": loss}
