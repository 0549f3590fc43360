"""The features of each folder of the suite, made by the product's own code and kept."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.fashion import Pool
from benchmarks.folders.build import FOLDERS, build
from benchmarks.folders.sources import benchmarks_folder
from paws.fit.embed import FeatureStore
from paws.models.frozen import LITE, frozen_backbone

VIEWS = 5  # random ones beside the plain view


def folder_features(name: str) -> Pool:
    """The folder is written and embedded unless that is done; labels are -1 for pictures of no class."""
    folder = FOLDERS[name]
    root = benchmarks_folder() / "folders" / name
    root.parent.mkdir(parents=True, exist_ok=True)
    files = build(folder.pictures() if not root.is_dir() else (), root)
    frozen = frozen_backbone(LITE, image_size=folder.size)
    store = FeatureStore(root.with_name(f"{name}-features"), files, frozen, VIEWS, mirror=folder.mirror)
    return Pool(np.asarray(store.fill()), files.labels, torch.empty(0, 0), torch.empty(0), files.classes)
