"""Networks: backbones by name, heads, and the encoder that joins them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from paws.errors import InputError
from paws.models.encoder import Encoder
from paws.models.heads import ProjectionClassifier, linear_classifier, projection_head
from paws.models.heads import prediction_head as make_prediction_head
from paws.models.resnet import resnet50, resnet50w2, resnet50w4, resnet101, resnet152, resnet200
from paws.models.small_cnn import SmallCNN
from paws.models.wide_resnet import wide_resnet28w2
from paws.seeds import seed_of

__all__ = [
    "BACKBONES",
    "Encoder",
    "ProjectionClassifier",
    "build_backbone",
    "build_classifier",
    "build_encoder",
    "classifier_head",
]

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": SmallCNN,
    "wide_resnet28w2": wide_resnet28w2,
    "resnet50": resnet50,
    "resnet50w2": resnet50w2,
    "resnet50w4": resnet50w4,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "resnet200": resnet200,
}


def build_backbone(
    name: str, *, in_channels: int = 3, pretrained: bool = False, seed: int = 0, **options: Any
) -> nn.Module:
    """The backbone ``name``, (N, in_channels, H, W) -> (N, backbone.feature_dim).

    A name of ``BACKBONES``, or a timm model as ``timm:NAME`` or, where the name is not one of ours, ``NAME``.
    Weights are random, a function of ``seed``, unless ``pretrained`` (timm models only; may download).
    ``options`` go to the constructor, e.g. ``final_bn_momentum`` of wide_resnet28w2.

    Raises:
        InputError: unknown name or option, or no pretrained weights.
    """
    with _initial_weights(seed):
        if name in BACKBONES:
            if pretrained:
                raise InputError(f"model {name!r} has no pretrained weights here; name a timm model, e.g. timm:{name}")
            return _construct(name, in_channels, options)
        from paws.models.timm import near_matches, timm_backbone  # here because timm takes a second to import

        try:
            return timm_backbone(name.removeprefix("timm:"), in_channels=in_channels, pretrained=pretrained, **options)
        except InputError as error:
            raise InputError(f"{error}{near_matches(name, list(BACKBONES))}") from None


def build_encoder(
    name: str,
    *,
    output_dim: int,
    hidden_dim: int | None = None,
    prediction_head: bool = False,
    in_channels: int = 3,
    pretrained: bool = False,
    seed: int = 0,
    **options: Any,
) -> Encoder:
    """Backbone, projection head (3-layer MLP to ``output_dim``) and, if asked for, prediction head."""
    backbone = build_backbone(name, in_channels=in_channels, pretrained=pretrained, seed=seed, **options)
    with _initial_weights(seed, "head"):
        head = projection_head(_feature_dim(backbone), output_dim, hidden_dim)
        prediction = make_prediction_head(output_dim) if prediction_head else None
    return Encoder(backbone, head, prediction)


def build_classifier(
    name: str,
    num_classes: int,
    *,
    classifier: str = "projection",
    hidden_dim: int | None = None,
    zero_init: bool = True,
    in_channels: int = 3,
    pretrained: bool = False,
    seed: int = 0,
    **options: Any,
) -> Encoder:
    """A backbone under a classifier: after the first ``projection`` layer, as in the paper, or on the ``backbone`` itself."""
    backbone = build_backbone(name, in_channels=in_channels, pretrained=pretrained, seed=seed, **options)
    with _initial_weights(seed, "head"):
        return Encoder(
            backbone, classifier_head(_feature_dim(backbone), num_classes, classifier, hidden_dim, zero_init)
        )


def classifier_head(
    dim: int, num_classes: int, classifier: str, hidden_dim: int | None = None, zero_init: bool = True
) -> nn.Module:
    """The head of ``build_classifier``; ``classifier`` is "projection" or "backbone"."""
    if classifier == "projection":
        return ProjectionClassifier(dim, num_classes, hidden_dim, zero_init=zero_init)
    if classifier == "backbone":
        return linear_classifier(dim, num_classes, zero_init=zero_init)
    raise ValueError(f"classifier is {classifier!r}, expected 'projection' or 'backbone'")


def _construct(name: str, in_channels: int, options: dict[str, Any]) -> nn.Module:
    try:
        return BACKBONES[name](in_channels=in_channels, **options)
    except TypeError as error:
        raise InputError(f"model {name!r} does not take these options {options}: {error}") from None


def _feature_dim(backbone: nn.Module) -> int:
    return int(backbone.feature_dim)  # type: ignore[arg-type]


@contextmanager
def _initial_weights(seed: int, part: str = "backbone") -> Iterator[None]:
    """Draw initial weights as a function of (seed, part); torch's initialisers know only the global generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "weights", part))
        yield
