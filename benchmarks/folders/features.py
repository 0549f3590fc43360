"""The features of each folder of the suite, made by the product's own code and kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.fashion import fashion_features
from benchmarks.folders.build import FOLDERS, Folder, build
from benchmarks.folders.sources import benchmarks_folder
from benchmarks.letters import letter_features
from paws.config.options import FitOptions
from paws.fit.embed import FeatureStore
from paws.fit.presets import backbone_of, plan
from paws.models.feature_cache import content_of


@dataclass(frozen=True, eq=False)
class Suite:
    """A folder as its features: ``views`` (N, 1 + K, D) float16, true ``labels`` (N,), -1 for a picture of no class.

    ``test`` (T, D) and ``test_labels`` (T,) are further pictures to measure on; the unlabelled ones of the pool if None.
    """

    views: np.ndarray
    labels: Tensor
    classes: tuple[str, ...]
    tuning: bool
    test: Tensor | None = None
    test_labels: Tensor | None = None

    @property
    def frequencies(self) -> Tensor:
        """(C,) how often each class occurs in the pool, of the pictures that have one."""
        return torch.bincount(self.labels[self.labels >= 0], minlength=len(self.classes)) / int((self.labels >= 0).sum())


def fashion(pool: int, tune: bool) -> Suite:
    """Fashion-MNIST: the first ``pool`` training images, measured on the test images, or on other training images to tune."""
    data = fashion_features(pool, tune=tune)
    return Suite(data.views, data.labels, data.classes, True, data.test.float(), data.test_labels)


def fashion_five(tune: bool) -> Suite:
    """Half of the pool in no class: Fashion-MNIST's 10,000 with the first five classes only."""
    data = fashion(10_000, tune)
    assert data.test is not None and data.test_labels is not None
    known = data.test_labels < 5
    labels = torch.where(data.labels < 5, data.labels, -1)
    return Suite(data.views, labels, data.classes[:5], True, data.test[known], data.test_labels[known])


def letters(tune: bool) -> Suite:
    """2,500 letters and digits in hundreds of fonts, measured on others."""
    data = letter_features(2_500, tune=tune)
    return Suite(data.views, data.labels, data.classes, True, data.test.float(), data.test_labels)


def clean(data: Suite) -> Suite:
    """The same without the pictures of no class."""
    known = data.labels >= 0
    return replace(data, views=data.views[known.numpy()], labels=data.labels[known])


def from_files(name: str, folder: Folder, largest: int | None = None, views: int | None = None) -> Suite:
    """A folder of files; it is written and embedded, as `paws fit` comes, unless that is done.

    ``largest``: fewer pictures, for a quick run. ``views``: random ones, as many as the preset has if None.
    """
    root = benchmarks_folder() / "folders" / (name if largest is None else f"{name}-{largest}")
    root.parent.mkdir(parents=True, exist_ok=True)
    files = build(folder.pictures, root, **({} if largest is None else {"largest": largest}))
    options = plan(FitOptions(preset="balanced", views=views, mirror=folder.mirror), files.paths).options
    contents = [content_of(path) for path in files.paths]
    kept = root.with_name(f"{root.name}-features" if views is None else f"{root.name}-features-{views}")
    store = FeatureStore(kept, files, contents, backbone_of(options), options.views or 0, mirror=folder.mirror)
    return Suite(np.asarray(store.fill()), files.labels, files.classes, folder.tuning)


OTHERS = {
    "fashion-10000": lambda tune: fashion(10_000, tune),
    "fashion-1000": lambda tune: fashion(1_000, tune),
    "letters": letters,
    "fashion-five": fashion_five,
    "fashion-five-clean": lambda tune: clean(fashion_five(tune)),
    "clipart-living-clean": lambda tune: clean(load("clipart-living")),
}
NAMES = (*FOLDERS, *OTHERS)


def load(name: str, *, tune: bool = False) -> Suite:
    """A folder of the suite by its name; ``tune``: with pictures to measure on that are not looked at in the end."""
    return OTHERS[name](tune) if name in OTHERS else from_files(name, FOLDERS[name])
