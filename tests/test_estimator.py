"""The scikit-learn estimator: its conventions, unknown labels, features and images."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.model_selection import cross_val_score
from sklearn.semi_supervised import LabelSpreading
from sklearn.utils.estimator_checks import check_estimator

from paws import LabelledKFold, PAWSClassifier, labelled_accuracy
from paws.model_selection import known_rows
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


UNKNOWN = {
    "None": None,
    "nan": np.nan,
    "pandas.NA": pd.NA,
    "NaT": pd.NaT,
    "-1": -1,
    "-1.0": -1.0,
    "'-1'": "-1",
    "'-1.0'": "-1.0",
    "empty": "",
    "blank": " ",
}


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize("form", ["list", "array", "column"])
def test_every_mark_of_an_unknown_label(unknown: str, form: str) -> None:
    values = ["a", UNKNOWN[unknown], "b", UNKNOWN[unknown]]
    y = {"list": values, "array": np.array(values, object), "column": pd.Series(values, dtype=object)}[form]
    known, labels = known_rows(y)
    assert known.tolist() == [True, False, True, False]
    assert labels.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "y", [pd.Series([0, 1, None], dtype="Int64"), [0.0, 1.0, np.nan], [0, 1, None], np.array([0, 1, -1.0])]
)
def test_unknown_among_numbers(y: Any) -> None:
    known, labels = known_rows(y)
    assert known.tolist() == [True, True, False]
    assert labels.tolist() == [0, 1]


def test_what_scikit_learn_selects_with_leaves_unknown_rows_out(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, truth = blobs
    y = truth.copy()
    y[30:] = -1
    model = PAWSClassifier(**QUICK)
    folds = LabelledKFold(3)
    for train, test in folds.split(x, y):
        assert (y[test] >= 0).all()
        assert len(train) + len(test) == len(x)
        assert set(range(30, 150)) <= set(train.tolist())
    assert cross_val_score(model, x, y, cv=folds).min() > 0.9
    assert cross_val_score(LabelSpreading("knn"), x, y, cv=folds, scoring=labelled_accuracy).min() > 0.9
    model.fit(x, y)
    assert model.score(x, y) == labelled_accuracy(model, x, y) > 0.9
    assert np.isnan(model.score(x[30:], y[30:]))


def test_one_fitted_to_images_is_pickled(tmp_path: Path, tiny_weights: Path) -> None:
    pictures = [np.asarray(draw(pattern, i)) for pattern in PATTERNS[:2] for i in range(4)]
    y = np.repeat([0, 1], 4)
    y[[2, 3, 6, 7]] = -1
    model = PAWSClassifier(heads=1, steps=4, backbone=TINY, weights=tiny_weights, image_size=32, views=1, random_state=None)
    expected = model.fit(pictures, y).predict_proba(pictures)
    joblib.dump(model, tmp_path / "model.joblib")
    for same in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        assert np.array_equal(same.predict_proba(pictures), expected)
    paths = []
    for i, picture in enumerate(pictures):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(picture).save(paths[-1])
    table = pd.DataFrame({"file": paths})
    for column in (np.array(paths, object), np.array(paths), table["file"], table, tuple(paths)):
        assert np.array_equal(model.predict_proba(column), expected)
    with pytest.raises(ValueError, match="X\\[1\\] is None; expected a path"):
        model.predict([paths[0], None])
    with pytest.raises(ValueError, match="n_neighbors 0: must be at least 1"):
        model.kneighbors(paths, 0)


@pytest.mark.parametrize(
    ("argument", "value", "says"),
    [
        ("heads", 0, "heads 0: must be at least 1"),
        ("heads", "2", "heads 2: must be at least 1"),
        ("noise", -1.0, "noise -1.0: must be a finite number"),
        ("noise", float("nan"), "noise nan"),
        ("noise", float("inf"), "noise inf"),
        ("steps", 0, "steps 0: must be"),
        ("views", -1, "views -1: must be"),
        ("accuracy", 1.5, "accuracy 1.5: must be"),
        ("accuracy", float("nan"), "accuracy nan"),
        ("image_size", 3, "image_size 3: must be"),
        ("model", "forest", "forest"),
        ("prior", "often", "often"),
        ("prior", [0.5, 0.5], "prior"),
        ("prior", [0.5, -0.5, 1.0], "prior"),
        ("prior", [float("nan"), 1.0, 1.0], "prior"),
        ("random_state", "x", "x"),
        ("device", "tpu", "tpu"),
    ],
)
def test_arguments_out_of_range(blobs: tuple[np.ndarray, np.ndarray], argument: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PAWSClassifier(**{"heads": 1, "steps": 1, argument: value}).fit(*blobs)


def test_labels_of_two_kinds_are_told() -> None:
    with pytest.raises(ValueError, match="the labels are texts, as 'a', and numbers, as 3"):
        known_rows(["a", 3, None])


def test_rows_of_no_class_are_told() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 60)
    x = (np.eye(8)[truth] + 0.15 * generator.normal(size=(180, 8))).astype(np.float32)
    y = np.full(180, -1)
    for known in (0, 1):
        y[np.flatnonzero(truth == known)[:6]] = known
    strange = PAWSClassifier(model="auto").fit(x, y).predict_none(x)
    assert (strange[truth == 2] > 0.5).mean() > 0.9 and (strange[truth < 2] > 0.5).mean() < 0.1
    assert not PAWSClassifier(model="logistic_regression").fit(x, y).predict_none(x).any()


def test_sets_hold_the_right_class_as_often_as_asked_and_all_classes_where_nothing_tells() -> None:
    x, truth = make_blobs(600, 6, centers=4, cluster_std=5.0, random_state=0)
    y = np.where(np.arange(600) < 120, truth, -1)
    model = PAWSClassifier(accuracy=0.9, model="logistic_regression").fit(x, y)
    sets, best = model.predict_set(x[120:]), model.predict_proba(x[120:]).argmax(1)
    assert sets.shape == (480, 4) and sets.dtype == bool and sets[np.arange(480), best].all()
    assert 0.8 < sets[np.arange(480), truth[120:]].mean() < 1 and 1 < sets.sum(1).mean() < 3
    single = np.full(600, -1)
    for c in range(4):
        single[np.flatnonzero(truth == c)[0]] = c
    assert PAWSClassifier(model="logistic_regression").fit(x, single).predict_set(x).all()
