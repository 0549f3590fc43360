"""Which method is taken, and the sentence that says why."""

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
    ("counts", "chosen", "words"),
    [
        ((75, 75), "paws", "no baseline more"),
        ((75, 76), "paws", "no more apart than by chance"),
        ((75, 85), "paws", "no more apart than by chance"),  # 25 labels against 15
        ((70, 90), "label_spreading", "LabelSpreading names 90.0% of 100 held-out labels rightly, PAWS 70.0%"),
        ((0, 0), "paws", "no baseline more"),
    ],
)
def test_a_baseline_has_to_win_by_more_than_chance(counts, chosen, words):
    found, reason = choose(right(*counts), None, 0.8)
    assert found == chosen and words in reason


def test_without_held_out_labels_and_when_asked():
    assert choose(right(0, 0, of=0), None, 0.87)[0] == "paws"
    assert "single label" in choose(right(0, 0, of=0), None, 0.87)[1] and "87%" in choose(right(0, 0, of=0), None, 0.87)[1]
    assert choose(right(9, 1), "label_spreading", 0.5) == ("label_spreading", "LabelSpreading was asked for.")


def test_names_of_methods():
    assert predictor_named("auto") is None
    short = {"knn": "nearest_neighbours", "logistic": "logistic_regression", "spreading": "label_spreading"}
    short |= {"paws": "paws", "soft-nn": "soft_nearest_neighbours"}
    assert {name: predictor_named(name) for name in short} == short
    titles = ("PAWS", "nearest neighbours", "logistic regression", "LabelSpreading", "soft nearest neighbours")
    assert [predictor_named(title) for title in titles] == list(table())  # as before there were names
    with pytest.raises(InputError, match="model 'svm' is not one of auto, paws, nearest_neighbours"):
        predictor_named("svm")
