"""What scikit-learn's model selection lacks for labels of which some are unknown: a mark for these, a scorer, a splitter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import assert_all_finite, check_consistent_length
from sklearn.utils.validation import column_or_1d

from paws.errors import InputError

UNKNOWN = ("", "-1", "-1.0")  # as text; of other kinds: -1, -1.0, None, nan, pandas.NA


def known_rows(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which of the N rows are labelled, (N,) bool, and the K labels of these in order, as one kind of values (K,).

    Unknown are -1, -1.0, None, nan and pandas.NA, and among texts "", "-1" and "-1.0".

    Raises:
        InputError: texts and numbers among the labels.
    """
    if not isinstance(y, np.ndarray):  # a list of texts and nan is one of texts to numpy, hence object
        known_kind = hasattr(y, "__array__")  # a tensor, say
        y = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y) if known_kind else np.array(y, dtype=object)
    y = column_or_1d(y, warn=True)
    if y.dtype.kind in "biu":
        known = y != -1
        return known, y[known]
    if y.dtype.kind == "f":
        known = (y != -1) & ~np.isnan(y)
        assert_all_finite(y[known], input_name="y")
        return known, y[known]
    known = np.array([not _is_unknown(value) for value in y], dtype=bool)
    labels = y[known]
    if labels.dtype.kind == "O" and len(labels):
        texts = [isinstance(value, str) for value in labels]
        if any(texts) and not all(texts):
            text, other = labels[texts.index(True)], labels[texts.index(False)]
            raise InputError(f"y: the labels are texts, as {text!r}, and numbers, as {other!r}; write -1 where one is unknown")
        labels = np.array(labels.tolist())
    return known, labels


def _is_unknown(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() in UNKNOWN
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas' own, which need not be installed
        return True
    return bool(value == -1 or value != value)


def right(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(K,) bool: which of the classes ``found`` are the ``labels`` (K,).

    Raises:
        InputError: one of them are texts, the other numbers, which are never equal.
    """
    found = np.array(found.tolist()) if found.dtype.kind == "O" else found  # texts of an estimator that keeps them as objects
    if len(labels) and (found.dtype.kind == "U") != (labels.dtype.kind == "U"):
        given, fitted = labels[:1].tolist()[0], found[:1].tolist()[0]
        raise InputError(f"y: its labels are such as {given!r}, the classes that were fitted such as {fitted!r}")
    return np.asarray(found == labels)


def labelled_accuracy(estimator: Any, X: Any, y: Any) -> float:
    """A scorer, for ``scoring=``: accuracy on the rows that are labelled; nan where none is.

    `sklearn.metrics.accuracy_score` counts each row of -1 as an error.
    """
    known, labels = known_rows(y)
    found = np.asarray(estimator.predict(X))
    check_consistent_length(found, known)
    return float(right(found[known], labels).mean()) if known.any() else float("nan")


class LabelledKFold(StratifiedKFold):
    """Stratified folds of the labelled rows, for ``cv=``: the rows without a label are trained on in every split.

    Args are those of `sklearn.model_selection.StratifiedKFold`. Test rows are labelled, all of them.
    """

    def split(self, X: Any, y: Any, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows to train on and rows to test on, ``n_splits`` times."""
        known, labels = known_rows(y)
        check_consistent_length(X, known)
        rows, rest = np.flatnonzero(known), np.flatnonzero(~known)
        for train, test in super().split(rows, labels):
            yield np.sort(np.concatenate([rows[train], rest])), rows[test]
