"""A map of an embedding: principal components, then t-SNE."""

from __future__ import annotations

from multiprocessing import current_process

import numpy as np

COMPONENTS = 50
PERPLEXITY = 30.0


def project(embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places (N, 2) in [0, 1] of points (N, P) such that neighbours stay neighbours; the same for the same points."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = np.nan_to_num(np.asarray(embedding, np.float32))
    if len(points) < 2 or not np.ptp(points, axis=0).any():
        return np.full((len(points), 2), 0.5)
    width = min(COMPONENTS, *points.shape)
    points = PCA(width, svd_solver="full").fit_transform(points)
    places = np.pad(points[:, :2], ((0, 0), (0, max(0, 2 - width))))
    if len(points) > 5:
        perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
        start = places / max(1e-12, places[:, 0].std()) * 1e-4  # as scikit-learn's init="pca"
        jobs = 1 if current_process().daemon else 2  # the learner of the labelling page may start no processes
        layout = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=jobs)
        places = layout.fit_transform(points)
    low, high = places.min(0), places.max(0)
    return (places - low) / np.maximum(1e-12, high - low)
