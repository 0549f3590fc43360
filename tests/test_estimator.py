"""The scikit-learn estimator: its conventions, unknown labels, features and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from paws import PAWSClassifier
from tests.conftest import PATTERNS, TINY, draw

QUICK = {"heads": 2, "steps": 30}


def test_scikit_learns_own_checks() -> None:
    expected = {
        "check_classifiers_classes": "takes -1 for a class; here, as in sklearn.semi_supervised, it is an unknown label"
    }
    results = check_estimator(PAWSClassifier(heads=2, steps=10), expected_failed_checks=expected, on_skip=None)
    assert {result["check_name"] for result in results if result["status"] == "xfail"} <= set(expected)
    assert sum(result["status"] == "passed" for result in results) > 40


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    return make_blobs(150, 6, centers=3, random_state=0)


@pytest.mark.parametrize("kind", ["numbers", "strings", "objects"])
def test_unknown_labels(blobs: tuple[np.ndarray, np.ndarray], kind: str) -> None:
    x, truth = blobs
    names = np.array(["a", "b", "c"])
    y = {"numbers": truth.copy(), "strings": names[truth].astype("U2"), "objects": names[truth].astype(object)}[kind]
    full = y.copy()
    known = np.concatenate([np.flatnonzero(truth == c)[:3] for c in range(3)])
    unknown = np.setdiff1d(np.arange(len(x)), known)
    y[unknown] = -1
    model = PAWSClassifier(**QUICK).fit(x, y)
    assert model.classes_.tolist() == np.unique(full).tolist()
    assert model.support_.tolist() == sorted(known)
    assert (model.predict(x) == full).mean() > 0.95
    probabilities = model.predict_proba(x)
    assert np.allclose(probabilities.sum(1), 1)
    weights, rows = model.kneighbors(x, 2)
    assert weights.shape == rows.shape == (150, 2)
    assert np.isin(rows, known).all()
    assert (full[rows[:, 0]] == full).mean() > 0.95


def test_all_labels_known_and_cross_validation(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    assert cross_val_score(PAWSClassifier(**QUICK), x, y, cv=2).min() > 0.9
    model = PAWSClassifier(**QUICK, random_state=3)
    assert clone(model).get_params() == model.get_params()
    again = [clone(model).fit(x, y).predict_proba(x) for _ in range(2)]
    assert np.array_equal(*again)


def test_images_in_every_form(tmp_path: Path, tiny_weights: Path) -> None:
    pictures = [draw(pattern, i) for pattern in PATTERNS for i in range(8)]
    arrays = np.stack([np.asarray(picture) for picture in pictures])  # (24, 24, 24, 3)
    paths = [tmp_path / f"{i}.png" for i in range(24)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    truth = np.repeat(PATTERNS, 8)
    y = truth.copy().astype(object)
    y[np.arange(24) % 8 > 2] = -1
    model = PAWSClassifier(**QUICK, backbone=TINY, weights=tiny_weights, image_size=32, views=2)
    model.fit(paths, y)
    predicted = model.predict(paths)
    assert (predicted == truth).mean() > 0.8
    for same in (list(map(str, paths)), [Image.open(path) for path in paths], arrays):
        assert (model.predict(same) == predicted).all()
    assert (clone(model).fit(arrays, y).predict(arrays) == truth).mean() > 0.8
    with pytest.raises(ValueError, match="it was fitted to images"):
        model.predict(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="23 labels for 24 images"):
        model.fit(paths, y[:23])
