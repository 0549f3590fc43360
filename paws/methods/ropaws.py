"""RoPAWS pre-training: targets calibrated by the densities of labelled and unlabelled images (arXiv 2302.14483).

PAWS's vote is Bayes' rule with kernel densities of the labelled images, and is confident of whatever is nearest, however far
it is. Here a target is the vote of the supports and of the other unlabelled images of the batch, each with its own target, and
the further an image is from all labelled ones, the nearer its target is to uniform. The predictions are PAWS's.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from paws.config.schema import Positive
from paws.distributed import gather, rank
from paws.losses import smoothed_one_hot
from paws.methods.paws import Paws, PawsSettings


class RopawsSettings(PawsSettings):
    """RoPAWS pre-training (arXiv 2302.14483), for images that are partly of no class."""

    name: Literal["ropaws"] = "ropaws"  # type: ignore[assignment]
    label_ratio: Positive = Field(5.0, description="labelled images that vote per unlabelled one, by weight")
    prior_temperature: Positive = Field(3.0, description="by which 1 - the cosine to the nearest labelled image is divided")
    prior_power: Positive = Field(1.0, description="power of exp(-that), the prior that an image is of a class")


class Ropaws(Paws):
    """PAWS with calibrated targets. B unlabelled images, S support samples, W ranks, C classes, D embedding."""

    title, Settings = "RoPAWS", RopawsSettings
    settings: RopawsSettings

    def target_vote(self, targets: Tensor, support: Tensor) -> Tensor:
        """Calibrated log-probabilities (2B, C) of views (2B, D): each of the two among the same views of all ranks' images."""
        settings = self.settings
        found = []
        for view in targets.chunk(2):  # an image does not vote on its own other view
            p = calibrated_votes(
                gather(view),  # (W*B, D)
                support,
                smoothed_one_hot(
                    self.source.labels.to(view.device), self.source.num_classes, self.source.smoothing, view.dtype
                ),
                temperature=settings.temperature,
                label_ratio=settings.label_ratio,
                prior_temperature=settings.prior_temperature,
                prior_power=settings.prior_power,
            )
            found.append(p[rank() * len(view) :][: len(view)])
        return torch.cat(found).log()


def calibrated_votes(
    unlabelled: Tensor,
    support: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.1,
    label_ratio: float = 5.0,
    prior_temperature: float = 3.0,
    prior_power: float = 1.0,
) -> Tensor:
    """Class probabilities P (U, C) of unlabelled embeddings (U, D) over supports (S, D) with label rows ``labels`` (S, C).

    P solves P = p (W_U P + W_S labels) + (1 - p) / C, row by row: p (U,) is the prior that an image is of one of the classes,
    exp((cosine to the nearest support - 1) / prior_temperature) ^ prior_power, and [W_S, W_U] (U, S + U) are the softmax of
    cosines / temperature over the supports and the other unlabelled images, in which the supports count as ``label_ratio`` * U
    images. Rows sum to 1 when the label rows do. All four settings > 0.
    """
    unlabelled, support = normalize(unlabelled, dim=1), normalize(support, dim=1)
    size, cosines = len(unlabelled), unlabelled @ support.T  # (U, S)
    prior = ((cosines.amax(1, keepdim=True) - 1).clamp_max(0) * (prior_power / prior_temperature)).exp()  # (U, 1)
    among = (unlabelled @ unlabelled.T / temperature).fill_diagonal_(-torch.inf)  # (U, U)
    logits = torch.cat([cosines / temperature + math.log(label_ratio * size / len(support)), among], dim=1)
    of_support, of_others = logits.softmax(1).split([len(support), size], dim=1)
    known = prior * (of_support @ labels) + (1 - prior) / labels.shape[1]  # (U, C)
    solved: Tensor = torch.linalg.solve(torch.eye(size).to(known) - prior * of_others, known)
    return solved.clamp_min(torch.finfo(solved.dtype).tiny)  # what is 0 may come out just below
