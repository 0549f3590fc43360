"""Any model of the timm library as a backbone."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import timm
from torch import nn

from paws.errors import InputError


def timm_backbone(name: str, *, in_channels: int = 3, pretrained: bool = False, **options: Any) -> nn.Module:
    """The timm model ``name`` without classifier, (N, in_channels, H, W) -> (N, feature_dim).

    Weights are random, and nothing is downloaded, unless ``pretrained``. Transformers take views of several sizes by
    interpolating their position embedding. ``options`` go to the model's constructor.

    Raises:
        InputError: unknown name or option, no such pretrained weights, or they could not be fetched.
    """
    # Only registered names: a prefix such as "hf-hub:" would fetch a description even without `pretrained`.
    if not timm.is_model(name):
        raise InputError(f"unknown model {name!r}{near_matches(name, timm.list_models())}")
    tag = name.partition(".")[2]
    if (tag or pretrained) and not timm.is_model_pretrained(name):
        known = ", ".join(timm.list_pretrained(name.partition(".")[0] + ".*")) or "none"
        raise InputError(f"no pretrained weights {name!r}; timm has for this model: {known}")
    try:
        backbone: Any = _create(name, in_chans=in_channels, pretrained=pretrained, **options)
    except TypeError as error:
        raise InputError(f"model {name!r} does not take these options {options}: {error}") from error
    except OSError as error:  # what the hub raises without a network
        raise InputError(f"the pretrained weights of {name!r} could not be fetched: {error}") from error
    backbone.feature_dim = getattr(backbone, "head_hidden_size", backbone.num_features)
    return backbone


def _create(name: str, **options: Any) -> nn.Module:
    try:
        # Position embeddings that follow the image size, which timm offers in its plain transformers only.
        return timm.create_model(name, num_classes=0, **{"dynamic_img_size": True, **options})
    except TypeError as error:
        if "dynamic_img_size" in options or "dynamic_img_size" not in str(error):
            raise
        return timm.create_model(name, num_classes=0, **options)


def near_matches(name: str, known: list[str]) -> str:
    """ "; near: a, b" for a message, or "" where nothing is near."""
    containing = [other for other in known if name and name.lower() in other][:4]
    near = dict.fromkeys([*get_close_matches(name.lower(), known, n=4, cutoff=0.7), *containing])
    return f"; near: {', '.join(near)}" if near else ""
