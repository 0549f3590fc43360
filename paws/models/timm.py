"""Any model of the timm library as a backbone."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import timm
from torch import nn

from paws.errors import InputError
from paws.models import hub

OFFLINE = "model.pretrained=false begins with random weights, model.name=timm:tf_efficientnet_lite0 with those of this package"


def timm_backbone(
    name: str, *, in_channels: int = 3, pretrained: bool = False, also_known: Iterable[str] = (), **options: Any
) -> nn.Module:
    """The timm model ``name`` without classifier, (N, in_channels, H, W) -> (N, feature_dim).

    Weights are random, and nothing is downloaded, unless ``pretrained``; weights of installed packages and of the hub's
    cache need no network. Transformers take views of several sizes, padded to whole patches, by interpolating their position
    embedding. ``options`` go to the model's constructor; ``also_known`` are further names to suggest where ``name`` is unknown.

    Raises:
        InputError: unknown name or option, no such pretrained weights, or they could not be fetched.
    """
    # Only registered names: with a prefix such as "hf-hub:" timm fetches a description even for random weights.
    if not timm.is_model(name):
        raise InputError(f"unknown model {name!r}{_near(name, [*also_known, *timm.list_models()])}")
    architecture, _, tag = name.partition(".")
    if (tag or pretrained) and not timm.is_model_pretrained(name):
        known = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "none"
        raise InputError(f"no pretrained weights for {name!r}; for this model timm has: {known}")
    packaged = pretrained and in_channels == 3 and hub.available(name) == "package"
    if pretrained and not packaged and (cached := hub.cached_or_reachable(name, OFFLINE)) is not None:
        options = {"pretrained_cfg_overlay": {"file": str(cached)}, **options}
    try:
        backbone: Any = _create(name, in_chans=in_channels, pretrained=pretrained and not packaged, **options)
    except TypeError as error:
        raise InputError(f"model {name!r} cannot be built with {options or 'these arguments'}: {error}") from error
    except OSError as error:  # what the hub's client raises without a network or a cached file
        raise InputError(f"the pretrained weights of {name!r} could not be fetched: {error}; {OFFLINE}") from error
    if packaged:
        hub.from_package(backbone, name)
    backbone.feature_dim = getattr(backbone, "head_hidden_size", backbone.num_features)
    return backbone


def _create(name: str, **options: Any) -> nn.Module:
    try:  # timm's plain transformers follow the image size when told to; other models do not know these arguments
        return timm.create_model(name, num_classes=0, **{"dynamic_img_size": True, "dynamic_img_pad": True, **options})
    except TypeError as error:
        if "dynamic_img" not in str(error):
            raise
    return timm.create_model(name, num_classes=0, **options)


def _near(name: str, known: list[str]) -> str:
    containing = [other for other in known if name and name.lower() in other][:4]
    near = dict.fromkeys([*get_close_matches(name.lower(), known, n=4, cutoff=0.7), *containing])
    return f"; near: {', '.join(near)}" if near else "; timm.list_models() lists the names"
