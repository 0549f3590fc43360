"""The fitted classifier: frozen features of images in; calibrated probabilities and the labelled images behind them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws import classifiers
from paws.classifiers.base import Predictor
from paws.classifiers.calibration import calibrated
from paws.errors import InputError
from paws.voting import above_floor, one_hot, vote_weights

TEMPERATURE = 0.1  # of the vote that shows which labelled images are near, for predictors without weights


@dataclass(frozen=True)
class Votes:
    """What the classifier says of N images."""

    probabilities: Tensor  # (N, C) float32, calibrated, rows sum to 1
    neighbours: Tensor  # (N, k) int64 rows of the support bank, most weight first
    weights: Tensor  # (N, k) float32 share of the vote, in [0, 1]
    novelty: Tensor  # (N,) float32 in [0, 2]: 1 - cosine to the nearest labelled image in standardised features


class Classifier(nn.Module):
    """Frozen features (N, D) -> Votes, by any predictor. Everything is a buffer or parameter, so ``state_dict()`` is the whole
    model.

    Probabilities below ``threshold`` are those it should abstain from.
    """

    mean: Tensor
    scale: Tensor
    support: Tensor
    support_labels: Tensor
    calibration: Tensor
    threshold: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        predictor: Predictor,
        mean: Tensor,
        scale: Tensor,
        support: Tensor,
        support_labels: Tensor,
        *,
        calibration: float = 1.0,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.classes, self.predictor = tuple(classes), predictor
        self.register_buffer("mean", mean.float())  # (D,) of the pool
        self.register_buffer("scale", scale.float())  # (D,)
        self.register_buffer("support", support.float())  # (S, D) raw features of the labelled images
        self.register_buffer("support_labels", support_labels)  # (S,) int64
        self.register_buffer("calibration", torch.tensor(calibration))  # p -> p ** calibration, normalised
        self.register_buffer("threshold", torch.tensor(threshold))
        self.eval().requires_grad_(False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, D) -> calibrated probabilities (N, C), weights (N, S), novelty (N,); exportable to ONNX."""
        return self._forward(features, own=False)

    def _forward(self, features: Tensor, own: bool) -> tuple[Tensor, Tensor, Tensor]:
        x, support = self._standardise(features), self._standardise(self.support)
        labels, num_classes = self.support_labels, len(self.classes)
        probabilities, weights = self.predictor(x, support, labels, own)
        if weights is None:
            rows = torch.arange(len(x), device=x.device) if own else None
            weights = vote_weights(x, support, labels, num_classes, TEMPERATURE, balanced=True, own=rows)
            if own and not self.predictor.can_leave_out:
                probabilities = above_floor(weights @ one_hot(labels, num_classes, x.dtype), TEMPERATURE)
        cosine = normalize(x, dim=1) @ normalize(support, dim=1).T  # (N, S)
        return calibrated(probabilities, self.calibration), weights, 1 - cosine.amax(1)

    @torch.inference_mode()
    def votes(self, features: Tensor, k: int = 3, *, chunk: int = 4096) -> Votes:
        """Votes on raw features (N, D), with the ``k`` labelled images of most weight."""
        k = min(k, len(self.support))
        parts = []
        for part in features.split(chunk):
            probabilities, weights, novelty = self(part.to(self.support.device).float())
            top = weights.topk(k, dim=1)
            parts.append((probabilities, top.indices, top.values, novelty))
        return Votes(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @torch.inference_mode()
    def embed(self, features: Tensor, *, chunk: int = 4096) -> Tensor:
        """(N, D) -> (N, P) L2-normalised: what the vote compares; standardised features where no head was trained."""
        standardised = (self._standardise(part.to(self.support.device).float()) for part in features.split(chunk))
        return torch.cat([self.predictor.embed(part) for part in standardised])

    @torch.inference_mode()
    def leave_one_out(self) -> Tensor:
        """(S, C) calibrated vote on each labelled image by the others.

        The vote of the nearest labelled images stands in for a predictor that cannot leave one out after it is fitted.
        """
        return self._forward(self.support, own=True)[0]

    def with_support(self, support: Tensor, labels: Tensor, classes: Sequence[str]) -> Classifier:
        """The classifier with other labelled images (S, D), labels (S,) or classes: no training.

        Predictors that vote do so with the new support; others are fitted again (`Predictor.with_labels`).

        Raises:
            InputError: a class without a labelled image, or a predictor that has to see the whole folder.
        """
        missing = [name for i, name in enumerate(classes) if not bool((labels == i).any())]
        if missing:
            raise InputError(f"no labelled image of: {', '.join(missing)}; every class needs one")
        return Classifier(
            classes,
            self.predictor.with_labels(self._standardise(support.float()), labels, len(classes)),
            self.mean,
            self.scale,
            support,
            labels,
            calibration=float(self.calibration),
            threshold=float(self.threshold),
        )

    def config(self) -> dict[str, Any]:
        """JSON-able: what `from_config` needs to rebuild the empty module."""
        return {
            "classes": list(self.classes),
            "support": list(self.support.shape),
            "predictor": {"name": self.predictor.name, **self.predictor.config()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Classifier:
        """An empty classifier to load a state dict into."""
        size, dim = config["support"]
        shape = dict(config["predictor"])
        return cls(
            config["classes"],
            classifiers.predictor(shape.pop("name")).from_config(shape),
            torch.zeros(dim),
            torch.ones(dim),
            torch.zeros(size, dim),
            torch.zeros(size, dtype=torch.int64),
        )

    def _standardise(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale
