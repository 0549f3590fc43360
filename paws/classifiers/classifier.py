"""The fitted classifier: frozen features of images in, calibrated votes of the labelled images out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.classifiers.rules import Linear, Rule, SoftVote, Spread, build
from paws.errors import InputError

TEMPERATURE = 0.1  # of the vote that shows which labelled images are near, for rules without a vote
FLOOR = 1e-6  # of a probability before it is calibrated


@dataclass(frozen=True)
class Votes:
    """What the classifier says of N images."""

    probabilities: Tensor  # (N, C) float32, calibrated, rows sum to 1
    neighbours: Tensor  # (N, k) int64 rows of the support bank, most weight first
    weights: Tensor  # (N, k) float32 share of the vote, in [0, 1]
    unfamiliar: Tensor  # (N,) float32 in [0, 2]: 1 - cosine to the nearest labelled image in standardised features


class Classifier(nn.Module):
    """Frozen features (N, D) -> Votes. Everything is a buffer or parameter, so ``state_dict()`` is the whole model.

    ``method`` says what votes: "PAWS", "soft nearest neighbours", "logistic regression", "nearest neighbours" or
    "LabelSpreading". Probabilities below ``threshold`` are those it should abstain from.
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
        method: str,
        rule: Rule,
        mean: Tensor,
        scale: Tensor,
        support: Tensor,
        support_labels: Tensor,
        *,
        calibration: float = 1.0,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.classes, self.method, self.rule = tuple(classes), method, rule
        self.register_buffer("mean", mean.float())  # (D,) of the pool
        self.register_buffer("scale", scale.float())  # (D,)
        self.register_buffer("support", support.float())  # (S, D) raw features of the labelled images
        self.register_buffer("support_labels", support_labels)  # (S,) int64
        self.register_buffer("calibration", torch.tensor(calibration))  # p -> p ** calibration, normalised
        self.register_buffer("threshold", torch.tensor(threshold))
        self.eval().requires_grad_(False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, D) -> calibrated probabilities (N, C), weights (N, S), unfamiliar (N,); exportable to ONNX."""
        return self._forward(features, own=False)

    def _forward(self, features: Tensor, own: bool) -> tuple[Tensor, Tensor, Tensor]:
        x, support = self._standardise(features), self._standardise(self.support)
        labels = (self.support_labels[:, None] == torch.arange(len(self.classes), device=x.device)).to(x.dtype)  # (S, C)
        probabilities, weights = self.rule(x, support, labels, own)
        if weights is None:
            shown, weights = SoftVote([], TEMPERATURE)(x, support, labels, own)
            probabilities = shown if own and not self.rule.leaves_out else probabilities
        cosine = normalize(x, dim=1) @ normalize(support, dim=1).T  # (N, S)
        calibrated = (probabilities.clamp_min(FLOOR).log() * self.calibration).softmax(1)  # (N, C)
        return calibrated, weights, 1 - cosine.amax(1)

    @torch.inference_mode()
    def votes(self, features: Tensor, k: int = 3, *, chunk: int = 4096) -> Votes:
        """Votes on raw features (N, D), with the ``k`` labelled images of most weight."""
        k = min(k, len(self.support))
        parts = []
        for part in features.split(chunk):
            probabilities, weights, unfamiliar = self(part.to(self.support.device).float())
            top = weights.topk(k, dim=1)
            parts.append((probabilities, top.indices, top.values, unfamiliar))
        return Votes(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @torch.inference_mode()
    def embed(self, features: Tensor, *, chunk: int = 4096) -> Tensor:
        """(N, D) -> (N, P) L2-normalised: what the vote compares; standardised features where no head was trained."""
        standardised = (self._standardise(part.to(self.support.device).float()) for part in features.split(chunk))
        embed = self.rule.embed if isinstance(self.rule, SoftVote) else lambda x: normalize(x, dim=1)
        return torch.cat([embed(part) for part in standardised])

    @torch.inference_mode()
    def leave_one_out(self) -> Tensor:
        """(S, C) calibrated vote on each labelled image by the others.

        Logistic regression and LabelSpreading cannot leave one image out after they are fitted; the vote of the nearest
        labelled images stands in for them.
        """
        return self._forward(self.support, own=True)[0]

    def with_support(self, support: Tensor, labels: Tensor, classes: Sequence[str]) -> Classifier:
        """The classifier with other labelled images (S, D), labels (S,) or classes: no training.

        PAWS and soft nearest neighbours vote with the new support; logistic regression is fitted again.

        Raises:
            InputError: a class without a labelled image, or LabelSpreading, which would have to spread again.
        """
        missing = [name for i, name in enumerate(classes) if not bool((labels == i).any())]
        if missing:
            raise InputError(f"no labelled image of: {', '.join(missing)}; every class needs one")
        if isinstance(self.rule, Spread):
            raise InputError("LabelSpreading has to see the whole folder again: fit again with the new labels")
        rule = self.rule
        if isinstance(rule, Linear):
            rule = Linear.fit(self._standardise(support.float()), labels, len(classes), rule.c)
        return Classifier(
            classes,
            self.method,
            rule,
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
            "method": self.method,
            "support": list(self.support.shape),
            "rule": self.rule.config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Classifier:
        """An empty classifier to load a state dict into."""
        size, dim = config["support"]
        return cls(
            config["classes"],
            config["method"],
            build(config["rule"]),
            torch.zeros(dim),
            torch.ones(dim),
            torch.zeros(size, dim),
            torch.zeros(size, dtype=torch.int64),
        )

    def _standardise(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale
