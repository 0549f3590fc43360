"""The fitted classifier: frozen features of images in; calibrated probabilities and the labelled images behind them out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws import classifiers
from paws.classifiers.base import Near, Predictor
from paws.classifiers.calibration import calibrated
from paws.classifiers.strangers import UNKNOWN, stranger_probability
from paws.errors import InputError
from paws.voting import above_floor, one_hot, vote_weights

TEMPERATURE = 0.1  # of the vote that shows which labelled images are near, for predictors without weights


@dataclass(frozen=True)
class Votes:
    """What the classifier says of N images."""

    probabilities: Tensor  # (N, C) float32, calibrated, rows sum to 1
    neighbours: Tensor  # (N, k) int64 rows of the support bank, most weight first
    weights: Tensor  # (N, k) float32 share of the vote, in [0, 1]
    novelty: Tensor  # (N,) float32 in [0, 2]: 1 - cosine to the nearest labelled image, by the components
    strange: Tensor  # (N,) float32 in [0, 1]: probability that it is like none that is labelled; 0 where that is not known


class Classifier(nn.Module):
    """Frozen features (N, D) -> Votes, by any predictor. Everything is a buffer or parameter, so ``state_dict()`` is the whole
    model.

    Probabilities below ``threshold`` are those it should abstain from. Classes of at least ``set_threshold`` are the set that
    holds the true one; 0 where nothing is known of it. ``none_class`` is the class of images that belong to no other.
    ``strangers`` is what tells of images that are like none of the labelled ones (`paws.classifiers.strangers`), where classes
    occur by their ``frequencies``, alike if absent.
    """

    mean: Tensor
    scale: Tensor
    support: Tensor
    support_labels: Tensor
    components: Tensor | None
    calibration: Tensor
    threshold: Tensor
    set_threshold: Tensor
    strangers: Tensor
    frequencies: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        predictor: Predictor,
        mean: Tensor,
        scale: Tensor,
        support: Tensor,
        support_labels: Tensor,
        components: Tensor | None = None,
        *,
        calibration: float = 1.0,
        threshold: float = 0.0,
        set_threshold: float = 0.0,
        none_class: str | None = None,
        strangers: Sequence[float] = UNKNOWN,
        frequencies: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.predictor = tuple(classes), predictor
        self.none_class = none_class if none_class in self.classes else None
        self.register_buffer("mean", mean.float())  # (D,) of the pool
        self.register_buffer("scale", scale.float())  # (D,)
        self.register_buffer("components", components)  # (P, D) of the standardised features; None: these as they are
        self.register_buffer("support", support.float())  # (S, D) raw features of the labelled images
        self.register_buffer("support_labels", support_labels)  # (S,) int64
        self.register_buffer("calibration", torch.tensor(calibration))  # p -> p ** calibration, normalised
        self.register_buffer("threshold", torch.tensor(threshold))
        self.register_buffer("set_threshold", torch.tensor(set_threshold))
        self.register_buffer("strangers", torch.tensor(strangers))  # (3,)
        self.register_buffer("frequencies", _even(len(classes)) if frequencies is None else frequencies)  # (C,)
        self.eval().requires_grad_(False)

    @property
    def knows_strangers(self) -> bool:
        """Whether anything tells of images that belong to no class."""
        return self.none_class is not None or float(self.strangers[2]) > UNKNOWN[2]

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features (N, D) -> calibrated probabilities (N, C), weights (N, S), novelty and strange (N,); exportable to ONNX."""
        return self._forward(features, own=False)

    def over_views(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same of images in V views (N, V, D), of which all are heard."""
        return self._forward(features, own=False)

    def _forward(self, features: Tensor, own: bool, near: Near | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        points, support = self.points(features), self.points(self.support)
        labels, num_classes = self.support_labels, len(self.classes)
        views = points if points.ndim == 3 else points[:, None]  # (N, V, P)
        near = self.predictor.near(views) if near is None else near
        probabilities, weights = self.predictor.over_views(views, support, labels, own, near)
        x = views.mean(1)  # (N, P)
        if weights is None:
            rows = torch.arange(len(x), device=x.device) if own else None
            weights = vote_weights(x, support, labels, num_classes, TEMPERATURE, balanced=True, own=rows)
            if own and not self.predictor.can_leave_out:
                probabilities = above_floor(weights @ one_hot(labels, num_classes, x.dtype), TEMPERATURE)
        cosine = normalize(x, dim=1) @ normalize(support, dim=1).T  # (N, S)
        familiarity = None if near is None else self.predictor.familiarity(near, self.frequencies)
        strange = torch.zeros_like(x[:, 0]) if familiarity is None else stranger_probability(familiarity, self.strangers)
        return calibrated(probabilities, self.calibration), weights, (1 - cosine.amax(1)).clamp_min(0), strange

    @torch.inference_mode()
    def votes(self, features: Tensor, k: int = 3, *, near: Near | None = None, chunk: int = 4096) -> Votes:
        """Votes on raw features (N, D), or of images in V views (N, V, D), with the ``k`` labelled images of most weight.

        ``near``: the images of the pool that are nearest to them, where they are known.

        Raises:
            InputError: features of another width, or votes that are not finite.
        """
        if features.shape[-1] != len(self.mean):
            raise InputError(f"features {tuple(features.shape)}: {len(self.mean)} of an image are expected")
        k = min(k, len(self.support))
        parts = []
        for rows in torch.arange(len(features)).split(chunk):
            part = features[rows].to(self.support.device).float()
            close = None if near is None else (near[0][rows], near[1][rows])
            probabilities, weights, novelty, strange = self._forward(part, own=False, near=close)
            top = weights.topk(k, dim=1)
            parts.append((probabilities, top.indices, top.values, novelty, strange))
            if not all(bool(numbers.isfinite().all()) for numbers in (probabilities, top.values, novelty, strange)):
                raise InputError("the classifier gives votes that are not finite: it is damaged; fit again")
        return Votes(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @torch.inference_mode()
    def embed(self, features: Tensor, *, chunk: int = 4096) -> Tensor:
        """(N, D) -> (N, P) L2-normalised: what the vote compares; components of the features where no head was trained."""
        points = (self.points(part.to(self.support.device).float()) for part in features.split(chunk))
        return torch.cat([self.predictor.embed(part) for part in points])

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
            self.predictor.with_labels(self.points(support.float()), labels, len(classes)),
            self.mean,
            self.scale,
            support,
            labels,
            self.components,
            calibration=float(self.calibration),
            threshold=float(self.threshold),
            set_threshold=float(self.set_threshold),
            none_class=self.none_class,
            strangers=self.strangers.tolist(),
            frequencies=self.frequencies if len(classes) == len(self.classes) else None,
        )

    def config(self) -> dict[str, Any]:
        """JSON-able: what `from_config` needs to rebuild the empty module."""
        return {
            "classes": list(self.classes),
            "support": list(self.support.shape),
            "components": None if self.components is None else len(self.components),
            "none_class": self.none_class,
            "predictor": {"name": self.predictor.name, **self.predictor.config()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Classifier:
        """An empty classifier to load a state dict into."""
        (size, dim), width = config["support"], config.get("components")  # bundles of format 3 have none
        shape = dict(config["predictor"])
        return cls(
            config["classes"],
            classifiers.predictor(shape.pop("name")).from_config(shape),
            torch.zeros(dim),
            torch.ones(dim),
            torch.zeros(size, dim),
            torch.zeros(size, dtype=torch.int64),
            torch.zeros(width, dim) if width else None,
            none_class=config.get("none_class"),
        )

    @classmethod
    def restored(cls, config: dict[str, Any], state: dict[str, Tensor]) -> Classifier:
        """The classifier that ``config()`` described, with a copy of these tensors as its state.

        Whatever sizes a description claims, no memory is taken but for the tensors that are there.

        Raises:
            RuntimeError: a tensor is missing, or is of another shape than the description gives it.
            ValueError: parts that know another number of classes.
        """
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without a number, which fit nothing
            made = cls.from_config(config)
        counts = {part.num_classes for part in made.modules() if isinstance(part, Predictor)}
        if counts != {len(made.classes)}:
            raise ValueError(f"{len(made.classes)} classes, of which its parts know {sorted(counts)}")
        own, frequencies = made.state_dict(), _even(len(made.classes))
        earlier = {"set_threshold": torch.zeros(()), "strangers": torch.tensor(UNKNOWN), "frequencies": frequencies}
        state = {**earlier, **state}  # earlier bundles do not have these
        copies = {name: value.to(own[name].dtype if name in own else value.dtype, copy=True) for name, value in state.items()}
        made.load_state_dict(copies, assign=True)
        return made

    def points(self, features: Tensor) -> Tensor:
        """Features (..., D) -> what predictors see, (..., P): the components of the standardised ones."""
        standardised = (features - self.mean) / self.scale
        return standardised if self.components is None else standardised @ self.components.T


def _even(count: int) -> Tensor:
    return torch.full((count,), 1 / count)
