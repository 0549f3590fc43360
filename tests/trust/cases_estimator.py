"""The estimator, its scorer and its splitter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import paws
from paws.model_selection import LabelledKFold, labelled_accuracy
from tests.trust import inputs
from tests.trust.case import Case

MATRIX = np.random.default_rng(0).normal(size=(40, 8)) + np.repeat([[0.0], [3.0]], 20, 0)
CLASSES = np.where(np.arange(40) % 4 == 0, np.repeat([0, 1], 20), -1)
ESTIMATOR: Sequence[tuple[str, dict[str, Any], Any, str]] = (  # what is wrong, arguments, features, what is said
    ("noise as text", {"noise": "little"}, MATRIX, "noise little"),
    ("no noise", {"noise": None}, MATRIX, "noise None"),
    ("half a head", {"heads": 1.5}, MATRIX, "heads 1.5"),
    ("features that are too large", {}, MATRIX * 1e300, "too large"),
    ("accuracy in per cent", {"accuracy": 95}, MATRIX, "accuracy 95"),
)
IMAGES = [np.asarray(inputs.picture("ab"[number % 2], number)) for number in range(6)]
HALF = [0, 1, 0, 1, -1, -1]


def fitted() -> paws.PAWSClassifier:
    return paws.PAWSClassifier(steps=2, heads=1).fit(MATRIX, CLASSES)


ASKED: Sequence[
    tuple[str, Callable[[], Any], str]
] = (  # what is asked of estimator, scorer and splitter, part of the ValueError
    ("a score of fewer labels", lambda: fitted().score(MATRIX, CLASSES[:3]), "inconsistent numbers of samples"),
    ("a score of fewer weights", lambda: fitted().score(MATRIX, CLASSES, [1, 2]), "inconsistent numbers of samples"),
    ("the scorer of fewer labels", lambda: labelled_accuracy(fitted(), MATRIX, CLASSES[:3]), "inconsistent numbers"),
    ("folds of fewer labels", lambda: list(LabelledKFold(2).split(MATRIX, CLASSES[:5])), "inconsistent numbers of samples"),
    ("more folds than labels", lambda: list(LabelledKFold(50).split(MATRIX, CLASSES)), "n_splits=50"),
    ("folds of no label", lambda: list(LabelledKFold(2).split(MATRIX, -np.ones(40))), "0 sample"),
    ("a score of numbers for texts", lambda: fitted().score(MATRIX, CLASSES.astype(str)), "y: its labels are such as"),
    ("the scorer of numbers for texts", lambda: labelled_accuracy(fitted(), MATRIX, CLASSES.astype(str)), "such as '0'"),
    ("features of another width", lambda: fitted().predict(MATRIX[:, :3]), "3 features"),
    ("no row", lambda: fitted().predict(MATRIX[:0]), "0 sample"),
    ("nan", lambda: fitted().predict(MATRIX * np.nan), "NaN"),
    ("one image", lambda: paws.PAWSClassifier().fit(IMAGES[0], HALF), "X is one image"),
    ("None among images", lambda: paws.PAWSClassifier().fit([IMAGES[0], None], [0, 1]), "X[1] is None"),
    ("images of floats", lambda: paws.PAWSClassifier().fit(np.stack(IMAGES) / 255, HALF), "float64"),
    ("paths that are not there", lambda: paws.PAWSClassifier().fit(["x.png", "y.png"], [0, 1]), "x.png"),
    ("more labels than images", lambda: paws.PAWSClassifier().fit(IMAGES, [0, 1]), "2 labels for 6 images"),
    ("a generator of images", lambda: paws.PAWSClassifier().fit((image for image in IMAGES), HALF), "2D array"),
    ("no image", lambda: paws.PAWSClassifier().fit([], []), "2D array"),
    ("one label", lambda: paws.PAWSClassifier().fit(MATRIX, np.where(CLASSES == 1, -1, CLASSES)), "1 class(es) labelled"),
    ("texts and numbers", lambda: paws.PAWSClassifier().fit(MATRIX[:2], ["a", 7]), "texts, as 'a', and numbers, as 7"),
    ("labels of two columns", lambda: paws.PAWSClassifier().fit(MATRIX, np.ones((40, 2))), "1d array"),
    ("an unknown model", lambda: paws.PAWSClassifier(model="forest").fit(MATRIX, CLASSES), "model 'forest' is not one of"),
    ("a seed that is a word", lambda: paws.PAWSClassifier(random_state="x").fit(MATRIX, CLASSES), "cannot be used to seed"),
    ("an unknown device", lambda: paws.PAWSClassifier(device="tpu").fit(MATRIX, CLASSES), "device tpu is not one of"),
    ("a prior of three classes", lambda: paws.PAWSClassifier(prior=[0.1, 0.2, 0.7]).fit(MATRIX, CLASSES), "each of the 2"),
)


def told(ask: Callable[[], Any]) -> Callable[[Path], str]:
    """The message of a ValueError, as scikit-learn's estimators raise it; InputError is one."""

    def call(folder: Path) -> str:
        try:
            return f"it was accepted: {ask()}"
        except ValueError as error:
            return str(error)

    return call


CASES = [
    *(Case(f"of the estimator is asked: {what}", told(ask), says=(says,), silent=("accepted",)) for what, ask, says in ASKED),
    Case("a score without weight", lambda folder: fitted().score(MATRIX, CLASSES, np.zeros(40)), says=("nan",)),
    Case("a score without a label", lambda folder: fitted().score(MATRIX, -np.ones(40)), says=("nan",)),
    *(
        Case(f"PAWSClassifier: {what}", lambda folder, a=a, x=x: paws.PAWSClassifier(**a).fit(x, CLASSES), code=2, says=(says,))
        for what, a, x, says in ESTIMATOR
    ),
]
