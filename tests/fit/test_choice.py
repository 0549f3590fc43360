"""Which method is taken, and what each is worth."""

import pytest
import torch

from paws.classifiers import table
from paws.config.options import PREFERRED
from paws.errors import InputError
from paws.fit.choice import predictor_named, score


def test_names_of_methods():
    assert predictor_named("auto") is None and PREFERRED == "combination"
    short = {"knn": "nearest_neighbours", "logistic": "logistic_regression", "spreading": "label_spreading"}
    short |= {"paws": "paws", "soft-nn": "soft_nearest_neighbours"}
    assert {name: predictor_named(name) for name in short} == short
    titles = (
        "all methods combined",
        "PAWS",
        "nearest neighbours",
        "logistic regression",
        "LabelSpreading",
        "soft nearest neighbours",
    )
    titles += ("Poisson learning", "Poisson MBO")
    assert [predictor_named(title) for title in titles] == list(table())  # as before there were names
    with pytest.raises(InputError, match="model 'svm' is not one of auto, combination, paws, nearest_neighbours"):
        predictor_named("svm")


def test_no_accuracy_without_held_out_labels():
    nothing = score("paws", torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert nothing.accuracy != nothing.accuracy and (nothing.low, nothing.high) == (0, 1)
    found = score("paws", torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([0, 1, 1]))
    assert found.accuracy == pytest.approx(2 / 3) and found.low < 2 / 3 < found.high
