"""A backbone that stays as it is: network, weights, and how it wants to see images. Several of them can be one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from types import MappingProxyType
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

    def with_weights(self, state: State) -> Frozen:
        """The same network with other weights."""
        kept = {name: value.detach().cpu().clone() for name, value in state.items()}
        return replace(self, weights=Held(kept))

    def __getstate__(self) -> dict[str, Any]:
        """Its fields: what was computed from them is computed again where it is unpickled."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True)
class Joined:
    """Several backbones: the features of an image are those of each of them, one block beside the other."""

    parts: tuple[Frozen, ...]

    @property
    def name(self) -> str:
        """The names of all."""
        return "+".join(part.name for part in self.parts)

    @property
    def feature_dim(self) -> int:
        """The width of all blocks together."""
        return sum(part.feature_dim for part in self.parts)

    @property
    def values(self) -> tuple[int, int] | None:
        """What is black and white in images of more than 8 bits."""
        return self.parts[0].values

    def with_values(self, values: tuple[int, int] | None) -> Joined:
        """The same backbones on images of more than 8 bits in which ``values`` are black and white."""
        return Joined(tuple(part.with_values(values) for part in self.parts))

    @cached_property
    def digest(self) -> str:
        """Names the weights of all."""
        return content_key([part.digest for part in self.parts])

    def weights(self) -> State:
        """The weights of all, each name led by the number of its backbone: ``1.conv.weight``."""
        return {f"{i}.{name}": value for i, part in enumerate(self.parts) for name, value in part.weights().items()}

    def config(self) -> dict[str, Any]:
        """JSON-able: everything but the weights."""
        return {"parts": [part.config() for part in self.parts]}


Backbone = Frozen | Joined


def join(parts: Sequence[Backbone]) -> Backbone:
    """One backbone of all ``parts``, in their order; of a single one, that one.

    Raises:
        InputError: the same backbone twice.
    """
    single = tuple(part for several in parts for part in several.parts)
    if len({(part.name, part.size, part.digest) for part in single}) < len(single):
        raise InputError(f"the same backbone twice: {', '.join(part.name for part in single)}")
    return single[0] if len(single) == 1 else Joined(single)


def blocks(backbone: Backbone) -> dict[str, slice]:
    """Which columns of the features (N, D) are from which backbone, by name (numbered where two have one name)."""
    found: dict[str, slice] = {}
    start = 0
    for part in backbone.parts:
        name = part.name if part.name not in found else f"{part.name} {len(found) + 1}"
        found[name] = slice(start, start + part.feature_dim)
        start += part.feature_dim
    return found


def frozen_from(
    config: Mapping[str, Any], weights: Callable[[], State], networks: Mapping[str, Network] = MappingProxyType({})
) -> Backbone:
    """The backbone that ``config()`` described, with what reads its weights, and by their names the networks from Python.

    Raises:
        InputError: keys that are missing or of another type.
    """
    if "parts" not in config:
        return _part(config, weights, networks)
    return Joined(tuple(_part(part, _under(f"{i}.", weights), networks) for i, part in enumerate(config["parts"])))


def _under(prefix: str, weights: Callable[[], State]) -> Callable[[], State]:
    return partial(_stripped, prefix, weights)


def _stripped(prefix: str, weights: Callable[[], State]) -> State:
    return {name.removeprefix(prefix): value for name, value in weights().items() if name.startswith(prefix)}


def _part(config: Mapping[str, Any], weights: Callable[[], State], networks: Mapping[str, Network]) -> Frozen:
    try:
        given = networks.get(config["name"])
        return Frozen(
            str(config["name"]),
            int(config["size"]),
            tuple(map(float, config["mean"])),
            tuple(map(float, config["std"])),
            str(config["interpolation"]),
            int(config["feature_dim"]),
            weights,
            None if given is None else partial(as_module, given),
            str(config.get("source", "timm")),
            int(config.get("count", 1)),
            (int(config["values"][0]), int(config["values"][1])) if config.get("values") else None,
            tuple(map(str, config.get("layers", ()))),
        )
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"the description of the backbone cannot be read: {error!r}") from None


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
