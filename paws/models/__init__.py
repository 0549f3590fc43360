"""Networks: backbones by name, heads, and the encoder that joins them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from paws.errors import InputError
from paws.models.encoder import Encoder
from paws.models.heads import ProjectionClassifier, linear_classifier, prediction_head, projection_head
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
    "prediction_head",
    "projection_head",
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
    if name not in BACKBONES:
        from paws.models.timm import near_matches, timm_backbone  # here because timm takes a second to import

        ours = "" if name.startswith("timm:") else near_matches(name, list(BACKBONES))
        if ours
        with _initial_weights(seed):
            return timm_backbone(
                name.removeprefix("timm:"), in_channels=in_channels, pretrained=pretrained, **options
            )
