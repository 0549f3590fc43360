"""Networks: backbones by name, heads, and the encoder that joins them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from paws.errors import InputError
from paws.models import heads
from paws.models.encoder import Encoder, embed
from paws.models.heads import ProjectionClassifier, linear_classifier, prediction_head, projection_head
from paws.models.plain_cnn import PlainCNN
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
    "classifier_from",
    "embed",
    "linear_classifier",
    "prediction_head",
    "projection_head",
]

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": SmallCNN,
    "plain_cnn": PlainCNN,
    "wide_resnet28w2": wide_resnet28w2,
    "resnet50": resnet50,
    "resnet50w2": resnet50w2,
    "resnet50w4": resnet50w4,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "resnet200": resnet200,
}

Classifier = Literal["projection", "backbone"]


def build_backbone(name: str, *, in_channels: int = 3, pretrained: bool = False, seed: int = 0, **options: Any) -> nn.Module:
    """The backbone ``name``: (N, in_channels, H, W) -> (N, backbone.feature_dim).

    ``name`` is one of ``BACKBONES``, or a timm model: ``timm:NAME``, or ``NAME`` alone where it is not one of ours.
    Weights are random, a function of ``seed``, unless ``pretrained`` (timm's only; they may be downloaded).
    ``options`` go to the constructor, e.g. ``final_bn_momentum`` of wide_resnet28w2.

    Raises:
        InputError: unknown name or option, or no pretrained weights.
    """
    with _weights_of_seed(seed, "backbone"):
        if name not in BACKBONES:
            from paws.models.timm import timm_backbone  # only here, as timm takes long to import

            return timm_backbone(
                name.removeprefix("timm:"),
                in_channels=in_channels,
                pretrained=pretrained,
                also_known=() if name.startswith("timm:") else BACKBONES,
                **options,
            )
        if pretrained:
            raise InputError(f"there are no pretrained weights for {name!r}; timm's models have some, e.g. timm:resnet50")
        known = list(inspect.signature(BACKBONES[name]).parameters)
        if surplus := set(options) - set(known):
            raise InputError(f"model {name!r} has no option {', '.join(sorted(surplus))}; it has: {', '.join(known)}")
        return BACKBONES[name](in_channels=in_channels, **options)


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
    """The network of pre-training: backbone, 3-layer projection head to ``output_dim``, on wish a prediction head.

    ``hidden_dim`` is the projection head's width, the backbone's feature width when absent. The other arguments are
    those of :func:`build_backbone`.
    """
    backbone = build_backbone(name, in_channels=in_channels, pretrained=pretrained, seed=seed, **options)
    with _weights_of_seed(seed, "heads"):
        head = projection_head(feature_dim(backbone), output_dim, hidden_dim)
        return Encoder(backbone, head, heads.prediction_head(output_dim) if prediction_head else None)


def build_classifier(
    name: str,
    num_classes: int,
    *,
    classifier: Classifier = "projection",
    hidden_dim: int | None = None,
    zero_init: bool = True,
    in_channels: int = 3,
    pretrained: bool = False,
    seed: int = 0,
    **options: Any,
) -> Encoder:
    """The network of classifier fine-tuning, an :class:`Encoder` whose z (N, num_classes) are logits.

    ``classifier`` "projection" stands behind the first layer of the projection head (as published), "backbone" on the
    backbone's features. The other arguments are those of :func:`build_encoder`.
    """
    backbone = build_backbone(name, in_channels=in_channels, pretrained=pretrained, seed=seed, **options)
    with _weights_of_seed(seed, "heads"):
        return Encoder(backbone, _classifier_head(feature_dim(backbone), num_classes, classifier, hidden_dim, zero_init))


def classifier_from(
    encoder: Encoder,
    num_classes: int,
    *,
    classifier: Classifier = "projection",
    zero_init: bool = True,
    seed: int = 0,
) -> Encoder:
    """The network of :func:`build_classifier` on the layers of a pre-trained ``encoder`` (shared, not copied)."""
    first = encoder.head.get_submodule("fc1")
    assert isinstance(first, nn.Linear)
    with _weights_of_seed(seed, "heads"):
        head = _classifier_head(encoder.feature_dim, num_classes, classifier, first.out_features, zero_init)
    if classifier == "projection":
        head.fc1, head.bn1 = first, encoder.head.get_submodule("bn1")
    return Encoder(encoder.backbone, head)


def feature_dim(backbone: nn.Module) -> int:
    """Width of the features of a backbone built here."""
    width = backbone.feature_dim
    assert isinstance(width, int)
    return width


def _classifier_head(
    in_dim: int, num_classes: int, classifier: Classifier, hidden_dim: int | None, zero_init: bool
) -> nn.Module:
    if classifier == "projection":
        return ProjectionClassifier(in_dim, num_classes, hidden_dim, zero_init=zero_init)
    if classifier == "backbone":
        return linear_classifier(in_dim, num_classes, zero_init=zero_init)
    raise InputError(f"unknown classifier {classifier!r}; it is 'projection' or 'backbone'")


@contextmanager
def _weights_of_seed(*key: int | str) -> Iterator[None]:
    """Draw torch's default initial weights from a stream of ``key``, and leave the global stream where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed_of(*key, "weights"))
        yield
