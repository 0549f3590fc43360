"""Logistic regression by scikit-learn: the linear probe."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from paws.classifiers.base import Predictor
from paws.classifiers.problem import Problem


class LogisticRegression(Predictor):
    """Softmax of a linear function of the standardised features; ``c`` is the inverse strength of the L2 penalty."""

    name, title, aliases = "logistic_regression", "logistic regression", ("logistic",)

    def __init__(self, num_classes: int, dim: int, c: float = 1.0) -> None:
        super().__init__(num_classes)
        self.linear, self.c = nn.Linear(dim, num_classes), c

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        shown = problem.shown(left_out)
        return cls.of(problem.space.standardise(problem.support[shown]), problem.support_labels[shown], len(problem.classes))

    @classmethod
    def of(cls, x: Tensor, labels: Tensor, num_classes: int, c: float = 1.0) -> Self:
        """Fit labelled features (S, D) with class ids (S,); a class without an image gets no probability."""
        from sklearn import linear_model

        with warnings.catch_warnings():  # of many classes with few samples, which is what this is for
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            model = linear_model.LogisticRegression(C=c, max_iter=2000).fit(x.double().numpy(), labels.numpy())
        found = cls(num_classes, x.shape[1], c)
        weight, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps one row: the log odds of the second class
            weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
        with torch.no_grad():
            found.linear.weight.zero_()
            found.linear.bias.fill_(-1e4)
            found.linear.weight[model.classes_] = torch.from_numpy(weight).float()
            found.linear.bias[model.classes_] = torch.from_numpy(bias).float()
        return found

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        return self.linear(x).softmax(1), None

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        return LogisticRegression.of(support, labels, num_classes, self.c)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "dim": self.linear.in_features, "c": self.c}
