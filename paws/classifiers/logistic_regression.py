"""Logistic regression by scikit-learn: the linear probe."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from paws.classifiers.base import Predictor
from paws.classifiers.problem import Problem
from paws.classifiers.space import unit

C, TOLERANCE, ITERATIONS = 1.0, 1e-2, 100  # inverse strength of the L2 penalty, and where the fit of a problem stops


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
        from sklearn import linear_model
        from sklearn.exceptions import ConvergenceWarning

        how = {"class_weight": "balanced", "tol": TOLERANCE, "max_iter": ITERATIONS} if balanced else {"max_iter": 2000}
        rows = x.numpy() if balanced else x.double().numpy()
        with warnings.catch_warnings():  # of many classes with few samples, which is what this is for
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = linear_model.LogisticRegression(C=strength, **how).fit(rows, labels.numpy())
        found = cls(num_classes, x.shape[1], c, scaled=balanced)
        weight, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps one row: the log odds of the second class
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        with torch.no_grad():
            found.linear.weight.zero_()
            found.linear.bias.fill_(-1e4)
            found.linear.weight[model.classes_] = torch.from_numpy(weight).float()
            found.linear.bias[model.classes_] = torch.from_numpy(bias).float()
        return found

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        return self.linear(unit(x) if self.scaled else x).softmax(1), None

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        if not self.scaled:
            return LogisticRegression.of(support, labels, num_classes, self.c)
        return LogisticRegression._fitted(unit(support), labels, num_classes, self.c, self.c, balanced=True)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "dim": self.linear.in_features, "c": self.c, "scaled": self.scaled}
