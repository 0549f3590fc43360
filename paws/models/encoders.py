"""Encoders that a fit trains on its images: networks of one shape side by side, each of which says where an image lies.

An encoder is a backbone and the head behind it: images (B, 3, H, W) -> embeddings (B, E) of length 1, whose inner products the
vote compares.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.errors import InputError
from paws.models import Encoder, build_backbone, feature_dim
from paws.models.layers import layer_means

HIDDEN, WIDTH = 256, 64  # of the head
MOST = 16  # encoders side by side
SEEN = 64  # pixels of the image by which the width of layers is found


class Encoders(nn.Module):
    """(B, 3, H, W) -> (B, count * WIDTH): the embeddings of each encoder, one block beside the other."""

    def __init__(self, encoders: list[Encoder]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([normalize(encoder(images)[0], dim=1) for encoder in self.encoders], dim=1)


def head(in_dim: int) -> nn.Sequential:
    """(N, in_dim) -> (N, WIDTH): a map to principal components or what takes their place, and the head of a fit behind it."""
    return nn.Sequential(
        nn.Linear(in_dim, HIDDEN),
        nn.Linear(HIDDEN, HIDDEN, bias=False),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, WIDTH),
    )


class Stages(nn.Module):
    """A network whose features are the means of some of its layers: (B, 3, H, W) -> (B, feature_dim)."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network, self.layers = network, tuple(layers)

    def forward(self, images: Tensor) -> Tensor:
        return layer_means(self.network, images, self.layers)


def encoder_of(name: str, layers: Sequence[str] = (), seed: int = 0) -> Encoder:
    """A backbone of `paws.models.build_backbone` and its head, with random weights, a function of ``seed``.

    The features are those of the backbone, or the means of its ``layers``.

    Raises:
        InputError: it has no such layers.
    """
    backbone = build_backbone(name, seed=seed)
    try:
        width = (
            layer_means(backbone.eval(), torch.zeros(1, 3, SEEN, SEEN), layers).shape[1] if layers else feature_dim(backbone)
        )
    except AttributeError as error:
        raise InputError(f"the network {name!r} has other layers: {error}") from None
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return Encoder(Stages(backbone, layers) if layers else backbone, head(width)).train()


def encoders_of(name: str, count: int, width: int, layers: Sequence[str] = ()) -> Encoders:
    """``count`` encoders of the backbone ``name`` with random weights, to load trained ones into.

    Raises:
        InputError: layers that it has not, or a number of encoders or a width of all embeddings that no fit makes.
    """
    if not 1 <= count <= MOST or width != count * WIDTH:
        raise InputError(f"{count} trained encoders with {width} features: each has {WIDTH}, and there are 1 to {MOST}")
    return Encoders([encoder_of(name, layers) for _ in range(count)])
