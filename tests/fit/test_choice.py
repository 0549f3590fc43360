"""Which method is taken, and by which name."""

import pytest
import torch

from paws.classifiers import table
from paws.errors import InputError
from paws.fit.choice import choose, predictor_named


def right(*counts: int, of: int = 100) -> dict[str, torch.Tensor]:
    """PAWS is right on the first labels, LabelSpreading on the last ones."""
    ours, theirs = counts
    return {"paws": torch.arange(of) < ours, "label_spreading": torch.arange(of) >= of - theirs}


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ((75, 75), "paws"),
        ((75, 76), "paws"),
        ((75, 85), "paws"),  # 25 labels against 15
        ((70, 90), "label_spreading"),
        ((0, 0), "paws"),
    ],
)
def test_a_baseline_has_to_win_by_more_than_chance(counts, chosen):
    assert choose(right(*counts), None) == chosen


def test_without_held_out_labels_and_when_asked():
    assert choose(right(0, 0, of=0), None) == "paws"
    assert choose(right(9, 1), "label_spreading") == "label_spreading"


def test_names_of_methods():
    assert predictor_named("auto") is None
    short = {"knn": "nearest_neighbours", "logistic": "logistic_regression", "spreading": "label_spreading"}
    short |= {"paws": "paws", "soft-nn": "soft_nearest_neighbours"}
    assert {name: predictor_named(name) for name in short} == short
    titles = ("PAWS", "nearest neighbours", "logistic regression", "LabelSpreading", "soft nearest neighbours")
    assert [predictor_named(title) for title in titles] == list(table())  # as before there were names
    with pytest.raises(InputError, match="model 'svm' is not one of auto, paws, nearest_neighbours"):
        predictor_named("svm")
