"""A backbone that stays as it is: network, weights, and how it wants to see images."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from paws.errors import InputError
from paws.models.efficientnet_lite import NETWORKS as LITE_NETWORKS
from paws.models.efficientnet_lite import EfficientNetLite
from paws.models.layers import layer_means
from paws.runs.keys import content_key

State = Mapping[str, Tensor]
Network = nn.Module | Callable[[Tensor], Tensor]  # float32 images (B, 3, size, size) -> features (B, D)
LARGEST_SIZE = 2048  # pixels of a side that a network is given
FROM_PYTHON = "python"  # as the source of a network that only the program that gave it can build
TRAINED = "trained"  # ... of networks that a fit has trained on its images, side by side in one backbone


class PixelBackbone(nn.Module):
    """A backbone on pixels as they are stored: uint8 (B, 3, H, W) -> float32 (B, D). Normalisation is part of it.

    With ``layers``, names of submodules whose outputs are (B, C, h, w), the features are the means of these over all positions,
    one beside the other, in place of what the network itself gives.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], layers: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, layers
        scale = 1 / (255 * torch.tensor(std).view(3, 1, 1))
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", -255 * scale * torch.tensor(mean).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W), uint8 or float in [0, 255]."""
        return layer_means(self.backbone, images.to(self.scale.dtype) * self.scale + self.shift, self.layers)


@dataclass(frozen=True)
class Held:
    """Weights in memory, as `Frozen` reads them; can be pickled."""

    state: State

    def __call__(self) -> State:
        return self.state


@dataclass(frozen=True)
class Frozen:
    """A backbone with its weights, and its preprocessing. The network is built when it is first asked for.

    Raises:
        InputError: a size, a mean or another value out of its range.
    """

    name: str  # of the timm model, or as it was given from Python
    size: int  # pixels of a side
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str  # bilinear or bicubic
    feature_dim: int
    weights: Callable[[], State]  # reads them
    network: Callable[[], nn.Module] | None = None  # builds it, where it is none of timm's
    source: str = "timm"
    count: int = 1  # of networks side by side, where a fit has trained them
    values: tuple[int, int] | None = None  # what is black and white in images of more than 8 bits; None: each image's own bits
    layers: tuple[str, ...] = ()  # of which the features are the means over positions, in the order of the network

    def __post_init__(self) -> None:
        black, white = self.values or (0, 1)
        right = {
            "size": 1 <= self.size <= LARGEST_SIZE,
            "mean": len(self.mean) == 3 and all(map(math.isfinite, self.mean)),
            "std": len(self.std) == 3 and all(map(math.isfinite, self.std)) and min(self.std) > 0,
            "interpolation": self.interpolation in ("bilinear", "bicubic"),
            "feature_dim": self.feature_dim >= 0,
            "values": -(2**31) <= black < white < 2**32,
        }
        if wrong := [f"{name} {getattr(self, name)}" for name, fits in right.items() if not fits]:
            raise InputError(f"the backbone {self.name} cannot be used: {', '.join(wrong)}")

    @property
    def parts(self) -> tuple[Frozen, ...]:
        """The backbones that the features are from: this one alone."""
        return (self,)

    @cached_property
    def digest(self) -> str:
        """Names the weights that are read: equal for equal names, shapes and numbers."""
        return content_key(dict(self.weights()))

    @cached_property
    def model(self) -> PixelBackbone:
        """The network in eval mode, without gradients: uint8 (B, 3, size, size) -> (B, feature_dim).

        Raises:
            InputError: weights that do not fit, or a network from Python that is not given.
        """
        if self.source == FROM_PYTHON and self.network is None:
            raise InputError(
                f"the backbone {self.name!r} is a network from Python: give it again, networks={{{self.name!r}: …}}"
            )
        state = dict(self.weights())
        try:
            if self.network is None and not isinstance(self.weights, Held):
                check_fit(self._built, state)
            backbone = self._built()
            backbone.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(f"the weights do not fit the backbone {self.name}: {error}") from None
        return self.around(backbone)

    def around(self, backbone: nn.Module) -> PixelBackbone:
        """A network that has the weights already, as `model`.

        Raises:
            InputError: layers that it does not have, or weights that are not finite.
        """
        layers = () if self.source == TRAINED else self.layers  # which of these are part of each encoder
        modules = dict(backbone.named_modules())
        if unknown := [name for name in layers if name not in modules]:
            raise InputError(f"the backbone {self.name} has no layers {', '.join(map(repr, unknown))}")
        if damaged := [name for name, value in backbone.state_dict().items() if not bool(value.isfinite().all())]:
            raise InputError(f"the weights of the backbone {self.name} are not finite: {', '.join(damaged[:3])}")
        return PixelBackbone(backbone, self.mean, self.std, layers).eval().requires_grad_(False)

    def _built(self) -> nn.Module:
        if self.network is not None:
            return self.network()
        if self.source == TRAINED:
            from paws.models.encoders import encoders_of  # only here, as it imports all networks

            return encoders_of(self.name, self.count, self.feature_dim, self.layers)
        return timm_network(self.name)

    def config(self) -> dict[str, Any]:
        """JSON-able: everything but the weights."""
        about = {name: getattr(self, name) for name in ("name", "size", "interpolation", "feature_dim", "digest", "source")}
        about |= {"mean": list(self.mean), "std": list(self.std)}
        about |= {"values": list(self.values)} if self.values else {}
        about |= {"count": self.count} if self.source == TRAINED else {}
        return about | ({"layers": list(self.layers)} if self.layers else {})

    def with_values(self, values: tuple[int, int] | None) -> Frozen:
        """The same backbone on images of more than 8 bits in which ``values`` are black and white."""
        return replace(self, values=values)

    def __getstate__(self) -> dict[str, Any]:
        """Its fields: what was computed from them is computed again where it is unpickled."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def as_module(network: Network) -> nn.Module:
    """A copy of a module, so that the caller's stays as it is, or a function of images as a module without weights."""
    return copy.deepcopy(network) if isinstance(network, nn.Module) else _Call(network)


class _Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


def timm_network(name: str) -> nn.Module:
    """The timm model ``name`` with random weights and without classifier."""
    name = name.removeprefix("timm:")
    if name in LITE_NETWORKS:
        return EfficientNetLite(LITE_NETWORKS[name])
    from paws.models.timm import timm_backbone  # only here, as timm takes long to import

    return timm_backbone(name)


def check_fit(build: Callable[[], nn.Module], state: State) -> None:
    """Raise RuntimeError where the network has other tensors than ``state``, before memory is taken for its own.

    Some models of timm before 1.0.27 cannot be built without memory: of these nothing is checked.
    """
    try:
        with torch.device("meta"):
            network = build()
    except RuntimeError:  # numbers are read while it is built
        return
    network.load_state_dict(state, assign=True)
