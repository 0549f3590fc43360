"""Which method is taken, and the sentence that says why."""

import pytest
import torch

from paws.classifiers.rules import floor
from paws.errors import InputError
from paws.fit.choice import choose, method_named, temperature_for


def right(*counts: int, of: int = 100) -> dict[str, torch.Tensor]:
    """PAWS is right on the first labels, LabelSpreading on the last ones."""
    ours, theirs = counts
    return {"PAWS": torch.arange(of) < ours, "LabelSpreading": torch.arange(of) >= of - theirs}


@pytest.mark.parametrize(
    ("counts", "chosen", "words"),
    [
        ((75, 75), "PAWS", "no baseline more"),
        ((75, 76), "PAWS", "no more apart than by chance"),
        ((75, 85), "PAWS", "no more apart than by chance"),  # 25 labels against 15
        ((70, 90), "LabelSpreading", "LabelSpreading names 90.0% of 100 held-out labels rightly, PAWS 70.0%"),
        ((0, 0), "PAWS", "no baseline more"),
    ],
)
def test_a_baseline_has_to_win_by_more_than_chance(counts, chosen, words):
    found, reason = choose(right(*counts), None, 0.8)
    assert found == chosen and words in reason


def test_without_held_out_labels_and_when_asked():
    assert choose(right(0, 0, of=0), None, 0.87)[0] == "PAWS"
    assert "single label" in choose(right(0, 0, of=0), None, 0.87)[1] and "87%" in choose(right(0, 0, of=0), None, 0.87)[1]
    assert choose(right(9, 1), "LabelSpreading", 0.5) == ("LabelSpreading", "LabelSpreading was asked for.")


def test_names_of_methods():
    assert method_named("auto") is None and method_named("knn") == "nearest neighbours" and method_named("PAWS") == "PAWS"
    with pytest.raises(InputError, match="model 'svm' is not one of auto, paws"):
        method_named("svm")


def test_many_classes_take_no_more_from_a_vote_than_nine_others_do():
    assert all(temperature_for(classes) == 0.2 for classes in range(2, 11))
    before = 0.2
    for classes in (11, 36, 100, 1000):
        temperature = temperature_for(classes)
        assert temperature < before
        assert (classes - 1) * floor(classes, temperature) == pytest.approx(9 * floor(10, 0.2))
        before = temperature
    assert 0.09 < before < 0.1  # the paper has 0.1 for ImageNet
