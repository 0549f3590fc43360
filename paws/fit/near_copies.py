"""Images that look almost the same though their bytes differ: found in the features, confirmed on the pixels.

Letters: K images whose class is known (labelled, or with a test label), D features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from paws.data.folder import FileSet
from paws.data.images import ImageFile
from paws.data.texts import printable
from paws.fit.record import NearCopy

NEAREST = 4  # images that are looked at beside each
SIMILAR = 0.5  # cosine of their centred features, at least
SIDE = 16  # pixels of what is compared
EQUAL = 0.995  # correlation of these, at least: saved anew, resized, or made a little brighter
CHUNK = 4096


def near_copies(files: FileSet, test: Tensor, views: np.ndarray, groups: Tensor) -> tuple[NearCopy, ...]:
    """Pairs among the K images of ``files`` that have a label, or a class in ``test`` (N,).

    ``views`` (N, V, D) are features, the plain view first; images that are equal in ``groups`` (N,) are copies to the byte, and
    left out here.
    """
    truth = torch.where(files.labels >= 0, files.labels, test)
    rows = (truth >= 0).nonzero().flatten()
    if len(rows) < 2:
        return ()
    features = torch.from_numpy(np.asarray(views[rows.numpy(), 0], np.float32))
    features = normalize(features - features.mean(0), dim=1)  # (K, D)
    seen: dict[int, Tensor] = {}

    def pixels(row: int) -> Tensor:
        if row not in seen:
            seen[row] = _small(files.paths[row])
        return seen[row]

    found = []
    for one, other in _alike(features):
        a, b = int(rows[one]), int(rows[other])
        if groups[a] != groups[b] and float(pixels(a) @ pixels(b)) >= EQUAL:
            labels = (files.classes[int(truth[a])], files.classes[int(truth[b])])
            across = bool((files.labels[a] >= 0) != (files.labels[b] >= 0))
            found.append(NearCopy(files=(printable(files.names[a]), printable(files.names[b])), labels=labels, across=across))
    return tuple(found)


def _alike(features: Tensor) -> list[tuple[int, int]]:
    """Pairs of rows of features (K, D) of length 1, each with those most like it."""
    pairs = set()
    for start in range(0, len(features), CHUNK):
        cosine = features[start : start + CHUNK] @ features.T  # (n, K)
        own = torch.arange(len(cosine))
        cosine[own, start + own] = -1
        values, others = cosine.topk(min(NEAREST, len(features) - 1), dim=1)
        near = values > SIMILAR
        first = (start + own)[:, None].expand_as(others)[near]
        pairs |= {(min(pair), max(pair)) for pair in zip(first.tolist(), others[near].tolist(), strict=True)}
    return sorted(pairs)


def _small(path: str) -> Tensor:
    """(3 * SIDE * SIDE,) of length 1 and mean 0; zeros where a picture is of one colour."""
    file = ImageFile(path)
    image = file.decode(max_reduction=max(1.0, min(file.width, file.height) / (8 * SIDE))).float()
    flat = adaptive_avg_pool2d(image, SIDE).flatten()
    return normalize(flat - flat.mean(), dim=0) if float(flat.std()) > 1 else torch.zeros_like(flat)
