"""PAWS as a scikit-learn estimator, on features or on images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from paws.classifiers.heads import HeadSettings
from paws.config.options import FitOptions, argument_docs, fit_options
from paws.errors import InputError
from paws.fit.fit import fit_features
from paws.fit.presets import backbone_of, plan
from paws.models.embedding import Embedder
from paws.models.frozen import Backbone

CHUNK = 4096  # rows predicted at a time
SHARED = (
    "model",
    "preset",
    "backbone",
    "weights",
    "image_size",
    "views",
    "mirror",
    "steps",
    "prior",
    "accuracy",
)  # with `paws fit`


class PAWSClassifier(ClassifierMixin, BaseEstimator):
    __doc__ = f"""Semi-supervised classification by PAWS (arXiv 2104.13963) on frozen features.

    ``fit(X, y)`` with y = -1 where the label is unknown, as in `sklearn.semi_supervised`; where labels are strings, "-1" or
    -1 among them is unknown too. X is a matrix of features (N, D), or N images: paths, Pillow images, or a uint8 array
    (N, H, W[, 3]), which are then embedded by ``backbone``. Arguments are those of ``paws fit`` (docs/options.md), and of their
    own:

    Args:
        {argument_docs(*SHARED)}
        noise: of features, which have no views: standard deviation of what is added to make one, in units of the features'.
        heads: networks that vote.
        random_state: an int, from which all draws follow.
        device: cpu, cuda, mps.

    Attributes:
        classes_: (C,) the labels.
        classifier_: the fitted `paws.classifiers.classifier.Classifier`.
        support_: (S,) the labelled rows of X.
        scores_: PAWS and the baselines on held-out labels, best first.
        threshold_: the probability from which predictions should reach ``accuracy``.
    """

    def __init__(
        self,
        *,
        model: str = "paws",
        preset: str | None = FitOptions.preset,
        backbone: str | None = FitOptions.backbone,
        weights: str | Path | None = FitOptions.weights,
        image_size: int | None = FitOptions.image_size,
        views: int | None = FitOptions.views,
        mirror: bool = FitOptions.mirror,
        noise: float = 0.3,
        heads: int = HeadSettings.heads,
        steps: int = FitOptions.steps,
        prior: str | Sequence[float] = FitOptions.prior,
        accuracy: float = FitOptions.accuracy,
        random_state: int = FitOptions.seed,
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.preset = preset
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.views = views
        self.mirror = mirror
        self.noise = noise
        self.heads = heads
        self.steps = steps
        self.prior = prior
        self.accuracy = accuracy
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any) -> PAWSClassifier:
        """Fit to N rows or images X and labels y (N,), -1 where unknown.

        Raises:
            ValueError: fewer than two classes, or input of a wrong shape or kind.
        """
        options = fit_options({name: getattr(self, name) for name in SHARED})
        images = _are_images(X)
        if images:
            y = np.asarray(y)
            if len(y) != len(X):
                raise InputError(f"{len(y)} labels for {len(X)} images")
        else:
            X, y = validate_data(self, X, y)
        known = ~_unknown(y)
        check_classification_targets(y[known])
        self.classes_, labels = np.unique(y[known], return_inverse=True)
        targets = torch.full((len(y),), -1)
        targets[torch.from_numpy(known)] = torch.from_numpy(labels)
        self.frozen_: Backbone | None = None
        if images:
            options = plan(options, X, device=self.device).options
            self.frozen_ = backbone_of(options)
            views = Embedder(self.frozen_, self.device).features(X, options.views or 0, mirror=options.mirror)
        else:
            views = _rows(X)[:, None]  # (N, 1, D)
        found = fit_features(
            views,
            targets,
            tuple(map(str, self.classes_)),
            seed=self.random_state,
            model=options.model,
            prior=options.prior,
            accuracy=options.accuracy,
            settings=HeadSettings(heads=self.heads, steps=options.steps, noise=0.0 if images else self.noise),
            device=self.device,
        )
        self.classifier_ = found.classifier.double()  # a prediction must not depend on the rows beside it
        self.scores_ = found.scores
        self.threshold_ = float(found.classifier.threshold)
        self.support_ = np.flatnonzero(known)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row or image, (M,)."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated probabilities (M, C) in the order of ``classes_``; rows sum to 1."""
        return self._votes(X)[0].numpy()

    def kneighbors(self, X: Any, n_neighbors: int = 3) -> tuple[np.ndarray, np.ndarray]:
        """What the vote of each row or image came from: weights (M, k) in [0, 1], and rows (M, k) of the X that was fitted."""
        top = self._votes(X)[1].topk(min(n_neighbors, len(self.support_)), dim=1)
        return top.values.numpy(), self.support_[top.indices.numpy()]

    @torch.inference_mode()
    def _votes(self, X: Any) -> tuple[Tensor, Tensor]:
        check_is_fitted(self)
        if self.frozen_ is None:
            features = _rows(validate_data(self, X, reset=False))
        elif _are_images(X):
            features = Embedder(self.frozen_, self.device).features(X)[:, 0].double()
        else:
            raise InputError("it was fitted to images: give paths, Pillow images or a uint8 array (M, H, W[, 3])")
        parts = [self.classifier_(part) for part in features.split(CHUNK)]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _unknown(y: np.ndarray) -> np.ndarray:
    if y.dtype.kind in "OUS":
        return np.array([str(value) == "-1" for value in y])
    return y == -1


def _are_images(X: Any) -> bool:
    if isinstance(X, np.ndarray):
        return X.ndim > 2 or X.dtype.kind == "U"
    if not isinstance(X, list | tuple) or not len(X):
        return False
    first = X[0]
    return isinstance(first, str | Path | Image.Image) or (isinstance(first, np.ndarray) and first.ndim > 1)


def _rows(X: Any) -> Tensor:
    return torch.from_numpy(np.array(X, np.float64))  # a copy: X may be read-only
