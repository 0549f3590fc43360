"""Masked siamese pre-training without labels (MSN, arXiv 2204.07141).

What PAWS says of an image by labelled ones is said here by K learned prototypes. The masked view of an image, and its small
views, predict what a slowly moving average of the network says of the whole image; me-max uses all prototypes alike. The paper
drops masked patches from a transformer's input; here they have the mean colour, so that any network does.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate

from paws.config.schema import Config, NonNegative, Positive, Recipe
from paws.data.source import Batch, Source
from paws.data.task import Task
from paws.distributed import mean, rank
from paws.errors import InputError
from paws.losses import log_soft_nn, me_max
from paws.methods.base import Method
from paws.methods.build import encoder_of, multi_crop, source_of
from paws.models import Encoder
from paws.seeds import generator

Share = Annotated[float, Field(ge=0, lt=1)]


class MsnSettings(Recipe):
    """Masked siamese pre-training without labels (arXiv 2204.07141)."""

    name: Literal["msn"] = "msn"
    prototypes: PositiveInt = Field(1024, description="K, learned points that stand for what images may be")
    temperature: Positive = Field(0.1, description="by which the cosines to the prototypes are divided")
    sharpening: Annotated[float, Field(gt=0, le=1)] = Field(
        0.25, description="of the targets: their temperature is its product"
    )
    me_max: NonNegative = Field(1.0, description="weight of mean-entropy maximisation; 0 turns it off")
    masked: Share = Field(0.15, description="share of the patches of the large view that are masked")
    patches: PositiveInt = Field(14, description="patches along each side of a view")
    momentum: Share = Field(0.996, description="of the moving average, at the start; it grows to 1 over the run")


class Msn(Method):
    """B images in two large and n small views, of which the first is the target; K prototypes, D embedding."""

    title, Settings = "MSN", MsnSettings

    def __init__(self, encoder: nn.Module, source: Source, settings: MsnSettings, *, epochs: int = 1) -> None:
        """``encoder`` has the parameter ``prototypes`` (K, D)."""
        self.encoder, self.source, self.settings = encoder, source, settings
        self.prototypes = encoder.get_parameter("prototypes")
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)
        self.steps, self.done = epochs * source.steps_per_epoch, 0.0  # share of the steps

    @classmethod
    def network(cls, config: Config, task: Task, device: torch.device) -> Encoder:
        """The config's encoder, and the prototypes beside it."""
        assert isinstance(config.recipe, MsnSettings)
        encoder = encoder_of(config, task, device)
        points = torch.randn(config.recipe.prototypes, encoder.output_dim, generator=generator(config.seed, "prototypes"))
        encoder.register_parameter("prototypes", nn.Parameter(points.to(device)))
        return encoder

    @classmethod
    def build(cls, config: Config, task: Task, device: torch.device) -> Self:
        """Pre-train the config's encoder on all its images, of which no label is read; InputError for patches below a pixel."""
        assert isinstance(config.recipe, MsnSettings)
        patches, size = config.recipe.patches, config.views.size
        if patches > size:
            raise InputError(
                f"recipe.patches={patches}: a view of views.size={size} pixels has no room for so many; give {size} or fewer"
            )
        source = source_of(config, task, device, views=multi_crop(config, task))
        return cls(cls.network(config, task, device), source, config.recipe, epochs=config.optim.epochs)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Masked and small views predict what the average network says of the target view (eq. 1)."""
        settings, (target, anchor, *small) = self.settings, batch.views
        draws = generator(self.source.seed, "masks", batch.step, rank())
        _, z = self.encoder([masked(anchor, settings.patches, settings.masked, draws), *small])  # ((1+n)B, D)
        with torch.no_grad():
            _, wanted = self.teacher(target)  # (B, D)
        cross_entropy, spread = msn_loss(z, wanted, self.prototypes, settings.temperature, settings.sharpening)
        self.done = (batch.step + 1) / self.steps
        return cross_entropy + settings.me_max * spread, {"cross_entropy": cross_entropy, "me_max": spread}

    @torch.no_grad()
    def after_update(self) -> None:
        """Move the average a little."""
        share = (1 - self.settings.momentum) * (1 - self.done)
        for average, weight in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
            average.lerp_(weight, share)

    def state_dict(self) -> dict[str, Any]:
        return {"teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.teacher.load_state_dict(state["teacher"])


def msn_loss(
    anchors: Tensor, targets: Tensor, prototypes: Tensor, temperature: float, sharpening: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy between what prototypes (K, D) say of anchors (M * B, D) and of their targets (B, D), and me-max.

    An embedding's row is softmax(cosines to the prototypes / temperature), a target's is of temperature * sharpening. No
    gradient is taken through the targets' rows. Both are scalars, and their sum is the loss of arXiv 2204.07141, eq. 1.
    """
    count = len(prototypes)
    classes = torch.arange(count, device=prototypes.device)  # every prototype is a class with one image
    with torch.no_grad():
        wanted = (log_soft_nn(targets, prototypes, classes, count, temperature=temperature) / sharpening).softmax(1)  # (B, K)
    log_p = log_soft_nn(anchors, prototypes, classes, count, temperature=temperature)  # (M * B, K)
    cross_entropy = -(wanted.repeat(len(anchors) // len(targets), 1) * log_p).sum(1).mean()
    return cross_entropy, me_max(log_p.exp(), mean_over_ranks=mean)


def masked(views: Tensor, patches: int, share: float, draws: torch.Generator) -> Tensor:
    """Views (B, ch, H, W) in which a ``share`` of ``patches`` x ``patches`` patches, others in each, is 0, the mean colour."""
    places = torch.rand(len(views), patches**2, generator=draws).argsort(1)  # (B, P), each place once in a row
    shown = (places >= round(share * patches**2)).view(-1, 1, patches, patches)
    return views * interpolate(shown.to(views), views.shape[2:], mode="nearest")
