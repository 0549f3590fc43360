"""Fine-tuning of a classifier with cross-entropy on the labelled images (arXiv 2104.13963, section 5)."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paws.config.schema import Config, Recipe
from paws.data.source import Batch, Source
from paws.data.task import Task
from paws.data.views import MultiCrop
from paws.methods.base import Method
from paws.methods.build import encoder_of, large_view, light_view, source_of
from paws.models import Encoder, classifier_from


class FinetuneSettings(Recipe):
    """Cross-entropy fine-tuning of a classifier on the labelled images."""

    name: Literal["finetune"] = "finetune"
    classifier: Literal["projection", "backbone"] = Field("projection", description="what the classifier stands on")
    probe: bool = Field(False, description="train the classifier alone on a frozen network")
    zero_init: bool = Field(True, description="start the classifier's last layer from zero")
    augmentation: Literal["light", "full"] = Field("light", description="crop and flip, or that of pre-training")


class Finetune(Method):
    """B labelled images in one view, C classes; z of the network are logits."""

    title, Settings = "Fine-tuning", FinetuneSettings
    classifies = True

    def __init__(self, encoder: nn.Module, source: Source, settings: FinetuneSettings, labels: Tensor) -> None:
        """``labels`` (N,) int64 of the images that the source's indices count."""
        self.encoder, self.source, self.settings = encoder, source, settings
        self.labels = labels.to(next(encoder.parameters()).device)
        if settings.probe:
            encoder.get_submodule("backbone").eval()  # a frozen network keeps its statistics

    @classmethod
    def network(cls, config: Config, task: Task, device: torch.device) -> Encoder:
        """The config's encoder, its projection head replaced by a classifier; with ``probe`` all else is frozen."""
        settings = config.recipe
        assert isinstance(settings, FinetuneSettings)
        classifier = classifier_from(
            encoder_of(config, task, device, synchronise=False),
            len(task.classes),
            classifier=settings.classifier,
            zero_init=settings.zero_init,
            seed=config.seed,
        ).to(device)
        if settings.probe:
            last = [layer for layer in classifier.head.modules() if isinstance(layer, nn.Linear)][-1]
            classifier.requires_grad_(False)
            last.requires_grad_(True)
        return classifier

    @classmethod
    def build(cls, config: Config, task: Task, device: torch.device) -> Self:
        """Fine-tune the whole network, or a probe alone, on the labelled images."""
        assert isinstance(config.recipe, FinetuneSettings)
        view = large_view(config, task) if config.recipe.augmentation == "full" else light_view(config, task)
        source = source_of(config, task, device, views=MultiCrop(view, n_large=1), pool=task.labelled)
        return cls(cls.network(config, task, device), source, config.recipe, task.train.labels)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy in at least fp32, and the share of the batch that is right."""
        _, logits = self.encoder(batch.views)  # (B, C)
        labels = self.labels[batch.indices.to(self.labels.device)]  # (B,)
        with torch.autocast(logits.device.type, enabled=False):
            loss = cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)
        return loss, {"cross_entropy": loss, "batch_top1": (logits.argmax(1) == labels).float().mean()}
