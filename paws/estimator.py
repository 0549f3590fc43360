"""PAWS as a scikit-learn estimator, on features or on images."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from paws.classifiers.heads import HeadSettings
from paws.config.options import FitOptions, argument_docs, fit_options
from paws.errors import InputError
from paws.fit.fit import fit_features
from paws.fit.presets import backbone_of, plan
from paws.model_selection import known_rows, right
from paws.models.embedding import Embedder
from paws.models.joined import Backbone
from paws.runs.device import device_type

if TYPE_CHECKING:
    from paws.data.stored_views import Picture

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
    """Semi-supervised classification by PAWS (arXiv 2104.13963) on frozen features.

    ``fit(X, y)`` with y = -1 where the label is unknown, as in `sklearn.semi_supervised`; None, nan and pandas.NA are unknown
    too, and among texts "-1" and "". X is a matrix of features (N, D), or N images: a sequence or a column of paths, Pillow
    images, or a uint8 array (N, H, W[, 3]), which are then embedded by ``backbone``. `score`, and `labelled_accuracy` and
    `LabelledKFold` of `paws.model_selection`, leave unknown rows out. Arguments are those of ``paws fit`` (docs/options.md),
    and of their own:

    Attributes:
        classes_: (C,) the labels.
        classifier_: the fitted `paws.classifiers.classifier.Classifier`.
        support_: (S,) the labelled rows of X.
        scores_: PAWS and the baselines on held-out labels, best first.
        threshold_: the probability from which predictions should reach ``accuracy``, where `predict_none` is at most a half;
            above 1 where nothing is sure.

    Args:
        noise: of features, which have no views: standard deviation of what is added to make one, in units of the features'.
        heads: networks that vote.
        random_state: an int, from which all draws follow; a numpy RandomState, or None for a draw of its own.
        device: auto, cpu, cuda, cuda:N, mps.
    """

    if __doc__:  # python -OO leaves none
        __doc__ += f"    {argument_docs(*SHARED)}\n"

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
        steps: int | None = FitOptions.steps,
        prior: str | Sequence[float] = FitOptions.prior,
        accuracy: float = FitOptions.accuracy,
        random_state: int | np.random.RandomState | None = FitOptions.seed,
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
        options, device = self._options(), device_type(self.device, "device ")
        pictures = _pictures(X)
        if y is None:
            validate_data(self, X, y)  # raises scikit-learn's own message
        known, labels = known_rows(y)
        targets = np.full(len(known), -1)
        check_classification_targets(labels)
        self.classes_, targets[known] = np.unique(labels, return_inverse=True)
        if pictures is None:
            X, targets = validate_data(self, X, targets)
        elif len(targets) != len(pictures):
            raise InputError(f"{len(targets)} labels for {len(pictures)} images")
        self.frozen_: Backbone | None = None
        if pictures is not None:
            options = plan(options, pictures, device=device).options
            self.frozen_ = backbone_of(options)
            views = Embedder(self.frozen_, device).features(pictures, options.views or 0, mirror=options.mirror)
        else:
            views = _rows(X)[:, None]  # (N, 1, D)
        found = fit_features(
            views,
            torch.from_numpy(targets),
            tuple(map(str, self.classes_)),
            seed=_seed(self.random_state),
            model=options.model,
            prior=options.prior,
            accuracy=options.accuracy,
            settings=HeadSettings(heads=self.heads, steps=options.steps, noise=self.noise if pictures is None else 0.0),
            device=device,
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

    def predict_set(self, X: Any) -> np.ndarray:
        """(M, C) bool: the classes, as in ``classes_``, that hold the true one with the probability ``accuracy``.

        All of them where too few labels were held out to promise less (`paws.classifiers.conformal`).
        """
        probabilities = self.predict_proba(X)
        most = probabilities == probabilities.max(1, keepdims=True)
        return np.asarray((probabilities >= float(self.classifier_.set_threshold)) | most)

    def predict_none(self, X: Any) -> np.ndarray:
        """(M,) probability that each row or image belongs to no class (`paws.classifiers.strangers`).

        0 where nothing tells of that: one label a class, or a ``model`` other than auto and LabelSpreading.
        """
        return self._votes(X)[3].numpy()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated probabilities (M, C) in the order of ``classes_``; rows sum to 1."""
        return self._votes(X)[0].numpy()

    def kneighbors(self, X: Any, n_neighbors: int = 3) -> tuple[np.ndarray, np.ndarray]:
        """What the vote of each row or image came from: weights (M, k) in [0, 1], and rows (M, k) of the X that was fitted."""
        if not isinstance(n_neighbors, Integral) or n_neighbors < 1:
            raise InputError(f"n_neighbors {n_neighbors}: must be at least 1")
        top = self._votes(X)[1].topk(min(n_neighbors, len(self.support_)), dim=1)
        return top.values.numpy(), self.support_[top.indices.numpy()]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on the rows that are labelled, with ``sample_weight`` (N,); nan where none is or has weight."""
        known, labels = known_rows(y)
        weights = np.ones(len(known)) if sample_weight is None else np.asarray(sample_weight)
        found = self.predict(X)
        check_consistent_length(found, known, weights)
        return float(np.average(right(found[known], labels), weights=weights[known])) if weights[known].any() else float("nan")

    def _options(self) -> FitOptions:
        """The arguments that ``paws fit`` has too; raises InputError for any argument that is out of its range."""
        if not isinstance(self.heads, Integral) or self.heads < 1:
            raise InputError(f"heads {self.heads}: must be at least 1")
        if not isinstance(self.noise, Real) or not 0 <= self.noise < np.inf:
            raise InputError(f"noise {self.noise}: must be a finite number, at least 0")
        return fit_options({name: getattr(self, name) for name in SHARED})

    @torch.inference_mode()
    def _votes(self, X: Any) -> tuple[Tensor, ...]:
        """What `Classifier.forward` gives, of all rows."""
        check_is_fitted(self)
        if self.frozen_ is None:
            features = _rows(validate_data(self, X, reset=False))
        elif (pictures := _pictures(X)) is not None:
            features = Embedder(self.frozen_, device_type(self.device, "device ")).features(pictures)[:, 0].double()
        else:
            raise InputError("it was fitted to images: give paths, Pillow images or a uint8 array (M, H, W[, 3])")
        parts = [self.classifier_(part) for part in features.split(CHUNK)]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """An int as it is; else a draw."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _pictures(X: Any) -> Sequence[Picture] | None:
    """The images that X holds, a column of paths as a list; None where X is a matrix of features."""
    if hasattr(X, "to_numpy"):  # a column of a table
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        if X.dtype.kind not in "OU":
            if X.ndim == 3 and X.dtype == np.uint8 and X.shape[2] in (1, 3):
                raise InputError(f"X is one image, of shape {X.shape}; of a single one write [image]")
            return list(X) if X.ndim > 2 else None
        if X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]
        X = X.tolist() if X.ndim == 1 else ()
    if not isinstance(X, list | tuple) or not len(X):
        return None
    first = X[0]
    is_one = isinstance(first, str | Path | Image.Image) or (isinstance(first, np.ndarray) and first.ndim > 1)
    if not is_one:
        return None
    for row, picture in enumerate(X):
        if not isinstance(picture, str | Path | Image.Image | np.ndarray):
            raise InputError(f"X[{row}] is {picture!r}; expected a path, a Pillow image or a uint8 array (H, W[, 3])")
    return X


def _rows(X: Any) -> Tensor:
    return torch.from_numpy(np.array(X, np.float64))  # a copy: X may be read-only
