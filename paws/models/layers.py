"""The features that layers inside of a network hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def layer_means(network: nn.Module, images: Tensor, layers: Sequence[str]) -> Tensor:
    """What the network gives of images (B, 3, H, W), or the means over positions of what ``layers`` give, (B, C, h, w) each.

    They stand beside each other in the order in which the network comes to them, (B, D).
    """
    if not layers:
        return network(images)
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        found.append(output.mean((2, 3)))

    handles = [network.get_submodule(name).register_forward_hook(keep) for name in layers]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(found, 1)
