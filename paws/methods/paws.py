"""PAWS pre-training: predict the soft pseudo-label of one view from another (arXiv 2104.13963, Alg. 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from paws.config.schema import Config, NonNegative, Positive, Recipe
from paws.data.source import Batch, Source
from paws.data.task import Task
from paws.distributed import gather, mean, rank
from paws.losses import nt_xent, paws_loss
from paws.methods.base import Method, suncet_of
from paws.methods.build import check_positives, large_view, multi_crop, source_of


class PawsSettings(Recipe):
    """PAWS pre-training (arXiv 2104.13963)."""

    name: Literal["paws"] = "paws"
    temperature: Positive = Field(0.1, description="by which the cosines of the vote are divided")
    sharpening: Annotated[float, Field(gt=0, le=1)] = Field(0.25, description="temperature that sharpens the targets")
    me_max: NonNegative = Field(1.0, description="weight of mean-entropy maximisation; 0 turns it off")
    sharpening_warmup: NonNegative = Field(0.0, description="epochs in which sharpening goes from 1 to its value")
    suncet: NonNegative = Field(0.0, description="weight of SuNCEt on the support; the paper's method, 0, is without it")
    nt_xent: NonNegative = Field(0.0, description="weight of NT-Xent on the two large views; 0, the paper's method, without it")
    nt_xent_temperature: Positive = Field(0.1, description="by which NT-Xent's cosines are divided")
    nt_xent_alone: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="first share of steps with NT-Xent alone")

    @model_validator(mode="after")
    def _alone_with_something(self) -> PawsSettings:
        if self.nt_xent_alone and not self.nt_xent:
            raise ValueError("nt_xent_alone needs a weight nt_xent above 0")
        return self


class Paws(Method):
    """B unlabelled images, n small views, S support images in V views, W ranks, C classes, D embedding."""

    title, Settings = "PAWS", PawsSettings
    target_vote: Callable[[Tensor, Tensor], Tensor] | None = None  # of views (2B, D) and supports; a variant may have its own

    def __init__(
        self, encoder: nn.Module, source: Source, settings: PawsSettings, *, epochs: int = 1, prior: Tensor | None = None
    ) -> None:
        """``prior`` (C,) are the class frequencies that me-max expects; uniform when absent."""
        self.encoder, self.source, self.settings, self.prior = encoder, source, settings, prior
        self.vote_begins = settings.nt_xent_alone * (epochs * source.steps_per_epoch)  # step
        self.loss_settles = settings.nt_xent_alone * epochs + settings.sharpening_warmup

    @classmethod
    def build(cls, config: Config, task: Task, device: torch.device) -> Self:
        """Pre-train the config's encoder on all its images; InputError for SuNCEt with too few of the support images."""
        assert isinstance(config.recipe, PawsSettings)
        if config.recipe.suncet:
            check_positives(config)
        source = source_of(config, task, device, views=multi_crop(config, task), support_view=large_view(config, task))
        return cls(cls.network(config, task, device), source, config.recipe, epochs=config.optim.epochs)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Each view predicts the vote of the other view over a fresh class-balanced support set."""
        h, z = self.encoder([*batch.support, *batch.views])  # before / after the prediction head, (V*S + (2+n)B, D)
        supports, h = sum(map(len, batch.support)), h.detach()
        view1, view2 = h[supports:].split(len(batch.indices))[:2]
        cross_entropy, me_max = paws_loss(
            anchors=z[supports:],  # ((2+n)B, D)
            anchor_support=gather(z[:supports]),  # (W*V*S, D)
            targets=torch.cat([view2, view1]),  # each large view predicts the other one
            target_support=gather(h[:supports]),
            labels=self.source.labels.to(h.device),  # (W*V*S,)
            num_classes=self.source.num_classes,
            smoothing=self.source.smoothing,
            temperature=self.settings.temperature,
            sharpening=self.sharpening(batch.step),
            prior=self.prior,
            target_vote=self.target_vote,
            mean_over_ranks=mean,
        )
        loss, metrics = cross_entropy + self.settings.me_max * me_max, {"cross_entropy": cross_entropy, "me_max": me_max}
        if self.settings.suncet:  # beyond the paper
            metrics["suncet"] = suncet_of(z[:supports], self.source, self.settings.temperature)
            loss = loss + self.settings.suncet * metrics["suncet"]
        return self.with_nt_xent(loss, metrics, z[supports : supports + 2 * len(batch.indices)], batch.step)

    def sharpening(self, step: int) -> float:
        """The sharpening temperature: from 1, where votes begin, to its value in ``sharpening_warmup`` epochs."""
        target, warmup = self.settings.sharpening, self.settings.sharpening_warmup
        epochs = max(0.0, (step - self.vote_begins) / self.source.steps_per_epoch)
        return target if epochs >= warmup else 1 - (1 - target) * epochs / warmup

    def with_nt_xent(
        self, loss: Tensor, metrics: dict[str, Tensor], large: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``loss``, which counts from where votes begin, plus NT-Xent of the large views (2B, D); beyond the paper."""
        if not self.settings.nt_xent:
            return loss, metrics
        contrastive = nt_xent(large, self.settings.nt_xent_temperature, keys=gather(large), offset=rank() * len(large))
        loss = float(step >= self.vote_begins) * loss + self.settings.nt_xent * contrastive
        return loss, {**metrics, "nt_xent": contrastive}
