"""Several frozen backbones as one, whose features stand side by side; and either read from its description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

from paws.errors import InputError
from paws.models.frozen import Frozen, Network, State, as_module
from paws.runs.keys import content_key


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
