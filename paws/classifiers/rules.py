"""Rules that turn standardised features into class probabilities: PAWS's vote, and the baselines on frozen features.

Every rule is a module ``rule(x, support, labels, own)`` of features x (N, D), support features (S, D) and one-hot support
labels (S, C), giving probabilities (N, C) whose rows sum to 1 and weights (N, S), the share of each labelled image in the
vote; with ``own`` the queries are the supports themselves and none votes on itself, where the rule ``leaves_out``.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.voting import vote_weights


class SoftVote(nn.Module):
    """Soft nearest neighbours over the support, averaged over heads; without heads, on the features themselves.

    A class votes with the same weight however many labelled images it has, as in the support sets of training. A temperature
    leaves something of the vote to every class, however far it is (`floor`); the probabilities are what is above that.
    """

    leaves_out = True

    def __init__(self, heads: list[nn.Module], temperature: float, project: nn.Module | None = None) -> None:
        super().__init__()
        self.project = project or nn.Identity()
        self.heads = nn.ModuleList(heads or [nn.Identity()])
        self.temperature = temperature

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor]:
        """Probabilities (N, C), and weights (N, S) with the floor in them."""
        ids, rows = labels.argmax(1), torch.arange(len(x), device=x.device) if own else None
        x, support, count = self.project(x), self.project(support), labels.shape[1]
        shares = [
            vote_weights(head(x), head(support), ids, count, self.temperature, balanced=True, own=rows) for head in self.heads
        ]
        weights = torch.stack(shares).mean(0)
        vote = weights @ labels  # (N, C)
        above = (vote - floor(labels.shape[1], self.temperature)).clamp_min(0)
        return above / above.sum(1, keepdim=True), weights

    def embed(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, P), L2-normalised; inner products are the mean over heads of the cosines that the vote compares."""
        x = self.project(x)
        embedded = [normalize(head(x), dim=1) for head in self.heads]
        return torch.cat(embedded, 1) / len(embedded) ** 0.5

    def config(self) -> dict[str, Any]:
        """What `build` needs for an empty rule of this shape."""
        linears = [[(m.in_features, m.out_features) for m in h.modules() if isinstance(m, nn.Linear)] for h in self.heads]
        project = [self.project.in_features, self.project.out_features] if isinstance(self.project, nn.Linear) else None
        sizes = [[layers[0][0], layers[0][1], layers[-1][1]] for layers in linears if layers]
        return {"name": "soft vote", "heads": sizes, "temperature": self.temperature, "project": project}


class Linear(nn.Module):
    """Logistic regression by scikit-learn: softmax of a linear function of the features."""

    leaves_out = False

    def __init__(self, dim: int, num_classes: int, c: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, num_classes)
        self.c = c

    @classmethod
    def fit(cls, x: Tensor, y: Tensor, num_classes: int, c: float = 1.0) -> Linear:
        """Fit labelled features (S, D) with class ids (S,); a class without an image gets no probability."""
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():  # of many classes with few samples, which is what this is for
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            model = LogisticRegression(C=c, max_iter=2000).fit(x.double().numpy(), y.numpy())
        rule = cls(x.shape[1], num_classes, c)
        weight, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps one row: the log odds of the second class
            weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
        with torch.no_grad():
            rule.linear.weight.zero_()
            rule.linear.bias.fill_(-1e4)
            rule.linear.weight[model.classes_] = torch.from_numpy(weight).float()
            rule.linear.bias[model.classes_] = torch.from_numpy(bias).float()
        return rule

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        """Probabilities (N, C); this rule has no weights."""
        return self.linear(x).softmax(1), None

    def config(self) -> dict[str, Any]:
        """What `build` needs for an empty rule of this shape."""
        return {"name": "linear", "dim": self.linear.in_features, "num_classes": self.linear.out_features, "c": self.c}


class Nearest(nn.Module):
    """k nearest labelled images by Euclidean distance, one vote each."""

    leaves_out = True

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        """Probabilities (N, C); this rule has no weights."""
        distance = _squared_distance(x, support)  # (N, S)
        if own:
            distance = _without_self(distance, torch.inf)
        nearest = distance.topk(min(self.k, support.shape[0]), dim=1, largest=False).indices  # (N, k)
        return labels[nearest].mean(1), None

    def config(self) -> dict[str, Any]:
        """What `build` needs for an empty rule of this shape."""
        return {"name": "nearest", "k": self.k}


class Spread(nn.Module):
    """scikit-learn's LabelSpreading: the mean of what it gave to the k nearest images of the pool that it spread over."""

    leaves_out = False
    bank: Tensor
    spread: Tensor

    def __init__(self, bank: Tensor, spread: Tensor, k: int, project: nn.Module | None = None) -> None:
        super().__init__()
        self.project = project or nn.Identity()
        self.register_buffer("bank", bank)  # (M, P)
        self.register_buffer("spread", spread)  # (M, C) probabilities
        self.k = k

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        """Probabilities (N, C); this rule has no weights."""
        nearest = _squared_distance(self.project(x), self.bank).topk(self.k, dim=1, largest=False).indices  # (N, k)
        found = self.spread[nearest].sum(1)  # (N, C)
        found = found + 1e-6  # an image that no label reaches: all classes alike
        return found / found.sum(1, keepdim=True), None

    def config(self) -> dict[str, Any]:
        """What `build` needs for an empty rule of this shape."""
        project = [self.project.in_features, self.project.out_features] if isinstance(self.project, nn.Linear) else None
        return {
            "name": "spread",
            "bank": list(self.bank.shape),
            "classes": self.spread.shape[1],
            "k": self.k,
            "project": project,
        }


Rule = SoftVote | Linear | Nearest | Spread


def floor(num_classes: int, temperature: float) -> float:
    """The share that a soft vote leaves to each other class where one is as near, and all others as far, as can be.

    C unit vectors are furthest apart as a regular simplex, with cosines of -1 / (C - 1).
    """
    if num_classes < 2:
        return 0.0
    return 1 / (math.exp(num_classes / (num_classes - 1) / temperature) + num_classes - 1)


def head(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """(N, in_dim) -> (N, out_dim): the head that PAWS trains on frozen features."""
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim)
    )


def projection(sizes: list[int] | None) -> nn.Linear | None:
    """An empty linear map of sizes [from, to], or None."""
    return None if sizes is None else nn.Linear(sizes[0], sizes[1], bias=False)


def build(config: dict[str, Any]) -> Rule:
    """An empty rule of the shape that ``rule.config()`` wrote down."""
    match config["name"]:
        case "soft vote":
            return SoftVote([head(*sizes) for sizes in config["heads"]], config["temperature"], projection(config["project"]))
        case "linear":
            return Linear(config["dim"], config["num_classes"], config["c"])
        case "nearest":
            return Nearest(config["k"])
        case _:
            rows, width = config["bank"]
            project = projection(config["project"])
            return Spread(torch.zeros(rows, width), torch.zeros(rows, config["classes"]), config["k"], project)


def _squared_distance(x: Tensor, y: Tensor) -> Tensor:
    return (y * y).sum(1) - 2 * x @ y.T  # (N, M), up to what is the same for all y


def _without_self(values: Tensor, filler: float) -> Tensor:
    return values.masked_fill(torch.eye(len(values), dtype=torch.bool, device=values.device), filler)
