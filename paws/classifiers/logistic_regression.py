"""Logistic regression, the linear probe: what scikit-learn minimises, as it does."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from paws.classifiers.base import Predictor
from paws.classifiers.problem import Problem
from paws.classifiers.space import unit
from paws.voting import one_hot

C, TOLERANCE, ITERATIONS = 1.0, 1e-4, 2000  # inverse strength of the L2 penalty, and where a fit stops


class LogisticRegression(Predictor):
    """Softmax of a linear function; ``c`` is the inverse strength of the L2 penalty.

    Of components scaled to one length where ``scaled``, which a fit does; of what it is given else. Fitted to a problem,
    every view of a labelled image is a sample, and classes weigh alike.
    """

    name, title, aliases = "logistic_regression", "logistic regression", ("logistic",)

    def __init__(self, num_classes: int, dim: int, c: float = C, scaled: bool = False) -> None:
        super().__init__(num_classes)
        self.linear, self.c, self.scaled = nn.Linear(dim, num_classes), c, scaled

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        shown, views = problem.shown(left_out), problem.projected.shape[1]
        x = unit(problem.projected[problem.labelled[shown]].float())  # (S, V, P)
        labels = problem.support_labels[shown].repeat_interleave(views)
        return cls._fitted(x.flatten(0, 1), labels, len(problem.classes), C * views, C, balanced=True)

    @classmethod
    def of(cls, x: Tensor, labels: Tensor, num_classes: int, c: float = C) -> Self:
        """Fit labelled features (S, D) as they are with class ids (S,); a class without an image gets no probability."""
        return cls._fitted(x, labels, num_classes, c, c, balanced=False)

    @classmethod
    def _fitted(cls, x: Tensor, labels: Tensor, num_classes: int, c: float, strength: float, *, balanced: bool) -> Self:
        """Fit samples (R, P) of classes (R,); ``c`` is kept for a fit of one sample an image, ``strength`` is used."""
        present, ids = labels.unique(return_inverse=True)
        weights = torch.ones(len(x)) if not balanced else (len(x) / len(present) / torch.bincount(ids))[ids].float()
        x = x if balanced else x.double()
        weight, bias = _minimised(x, ids, weights.to(x), len(present), strength)
        found = cls(num_classes, x.shape[1], c, scaled=balanced)
        with torch.no_grad():
            found.linear.weight.zero_()
            found.linear.bias.fill_(-1e4)
            found.linear.weight[present], found.linear.bias[present] = weight.float(), bias.float()
        return found

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        return self.linear(unit(x) if self.scaled else x).softmax(1), None

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        if not self.scaled:
            return LogisticRegression.of(support, labels, num_classes, self.c)
        return LogisticRegression._fitted(unit(support), labels, num_classes, self.c, self.c, balanced=True)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "dim": self.linear.in_features, "c": self.c, "scaled": self.scaled}


def _minimised(x: Tensor, labels: Tensor, weights: Tensor, classes: int, c: float) -> tuple[Tensor, Tensor]:
    """Weights (C, P) and biases (C,) that minimise c · Σ weight · cross-entropy + ‖W‖² / 2 over samples ``x`` (R, P).

    As scikit-learn's ``LogisticRegression`` does, importing which takes a second: by L-BFGS from zeros, until no component of
    the gradient, divided by c · Σ weight, is above `TOLERANCE`. Of two classes W and the biases are one row, the log-odds.
    """
    from scipy.optimize import minimize

    rows = 1 if classes == 2 else classes
    spread = torch.tensor([[-0.5], [0.5]], dtype=x.dtype) if classes == 2 else torch.eye(classes, dtype=x.dtype)  # (C, rows)
    weights, strength = weights / weights.sum(), 1 / (c * float(weights.sum()))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.from_numpy(flat).to(x.dtype).view(rows, -1)  # (rows, P + 1)
        slopes = free[:, :-1]
        logs = (torch.addmm(free[:, -1], x, slopes.T) @ spread.T).log_softmax(1)  # (R, C)
        error = (logs.exp() - one_hot(labels, classes, x.dtype)) * weights[:, None] @ spread  # (R, rows)
        value = strength / 2 * slopes.square().sum() - weights @ logs.gather(1, labels[:, None])[:, 0]
        slope = torch.cat([error.T @ x + strength * slopes, error.sum(0)[:, None]], 1)
        return float(value), slope.double().flatten().numpy()

    how = {"maxiter": ITERATIONS, "maxls": 50, "gtol": TOLERANCE, "ftol": 64 * np.finfo(float).eps}
    found = minimize(loss, np.zeros(rows * (x.shape[1] + 1)), method="L-BFGS-B", jac=True, options=how).x
    free = spread.double() @ torch.from_numpy(found).view(rows, -1)  # (C, P + 1)
    return free[:, :-1], free[:, -1]
