"""The one network of all recipes: backbone, projection head and perhaps a prediction head, over views of several sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """``encoder(views) -> (h, z)``: embeddings before and after the prediction head.

    Args:
        backbone: (N, C, H, W) -> (N, feature_dim); ``nn.Identity()`` where views are stored features (N, feature_dim).
        head: (N, feature_dim) -> (N, output_dim), a projection head or a classifier.
        prediction_head: (N, output_dim) -> (N, output_dim), or None.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, prediction_head: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.prediction_head = prediction_head
        linears = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
        self.feature_dim = linears[0].in_features
        self.output_dim = linears[-1].out_features

    def forward(self, views: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (h, z), each (N, output_dim), of the N samples of all views in their order.

        z is h where there is no prediction head. Neighbouring views of one shape go through the network as one batch, so
        that batch norm sees them together.
        """
        if isinstance(views, Tensor):
            return self._embed(views)
        batches = [_join(list(same_size)) for _, same_size in groupby(views, key=lambda view: view.shape[1:])]
        embeddings = [self._embed(batch) for batch in batches]
        h = _join([h for h, _ in embeddings])
        z = h if self.prediction_head is None else _join([z for _, z in embeddings])
        return h, z  # (N, D), (N, D)

    def _embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        h = self.head(self.backbone(images))  # (N, C, H, W) -> (N, D)
        return h, h if self.prediction_head is None else self.prediction_head(h)


def _join(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


@torch.inference_mode()
def embed(encoder: nn.Module, batches: Iterable[Tensor], *, embedding: str = "z") -> Tensor:
    """Embeddings (N, D) float32 on the CPU of batches (B, ch, H, W) of normalised views, in eval mode and fp32.

    ``embedding``: z (after the prediction head where there is one), h (after the projection head), or backbone.
    """
    training = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        if embedding == "backbone":
            return torch.cat([encoder.backbone(batch).float().cpu() for batch in batches])  # type: ignore[operator]
        return torch.cat([encoder(batch)[embedding == "z"].float().cpu() for batch in batches])  # (h, z)[1] is z
    finally:
        for module, was in training.items():  # one by one: batch norms may be frozen in a network that trains
            module.training = was
