"""Encoders that were trained on the pixels of the folder, as one more predictor: the vote of PAWS in what they embed.

Each was not shown one fold of the labels, as the heads of `paws.classifiers.paws_ensemble`, and what it embeds stands in
columns of its own behind the features (`paws.classifiers.problem.Encoded`).
"""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from paws.classifiers.base import CrossFitted
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.problem import Problem
from paws.models.encoders import MOST


class Columns(nn.Module):
    """(..., E * W) -> (..., W): what one encoder embeds."""

    def __init__(self, start: int, width: int) -> None:
        super().__init__()
        self.start, self.width = start, width

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.start + self.width]


class TrainedEncoders(PawsEnsemble):
    """Soft nearest neighbours over the support in the embeddings (N, E * W) of E encoders, averaged over these."""

    name, title, aliases = "encoders", "trained encoders", ()
    reads = "encoders"

    @classmethod
    def cross_fit(cls, problem: Problem) -> CrossFitted[Self]:
        """There is nothing left to train: the encoders are there, each without the labels of its fold."""
        encoded = problem.encoded
        assert encoded is not None
        width = encoded.embeddings.shape[2] // encoded.count
        heads = [Columns(i * width, width) for i in range(encoded.count)]
        every = cls(len(problem.classes), heads, encoded.temperature, nn.Identity())
        return every.judged(problem, encoded.settings, encoded.curves)

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> TrainedEncoders:
        return TrainedEncoders(num_classes, list(self.heads), self.temperature, self.project)

    @property
    def width(self) -> int:
        """Columns that are read."""
        return sum(head.width for head in self.heads)  # type: ignore[misc]

    def config(self) -> dict[str, Any]:
        width = self.heads[0].width
        return {"num_classes": self.num_classes, "count": len(self.heads), "width": width, "temperature": self.temperature}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        count, width = config["count"], config["width"]
        if not (1 <= count <= MOST and width >= 1):
            raise ValueError(f"{count} encoders of {width} numbers")
        heads = [Columns(i * width, width) for i in range(count)]
        return cls(config["num_classes"], heads, config["temperature"], nn.Identity())
