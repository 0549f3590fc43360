"""Changed labels: the support bank that comes out, held against a bank put together by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from paws.bundle.table import Prediction
from paws.classifiers.base import Predictor
from paws.classifiers.classifier import Classifier
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.soft_nearest_neighbours import SoftNearestNeighbours
from paws.errors import InputError
from paws.labels.relabel import change_support, differences

FILES = ("a.png", "b.png", "c.png", "d.png", "e.png")
POOL = {name: torch.randn(6, generator=torch.Generator().manual_seed(i)) for i, name in enumerate((*FILES, "f.png", "g.png"))}


def classifier(classes: tuple[str, ...], labels: dict[str, str], predictor: Predictor | None = None) -> Classifier:
    support = torch.stack([POOL[name] for name in labels])
    ids = torch.tensor([classes.index(label) for label in labels.values()])
    predictor = predictor or SoftNearestNeighbours(len(classes))
    return Classifier(classes, predictor, torch.zeros(6), torch.ones(6), support, ids, calibration=1.5)


def features_of(files: list[str]) -> Tensor:
    return torch.stack([POOL[name] for name in files])


BEFORE = dict(zip(FILES, ("x", "x", "y", "y", "z"), strict=True))


@pytest.mark.parametrize(
    ("changes", "classes", "after"),
    [
        ({"b.png": "y"}, ("x", "y", "z"), {**BEFORE, "b.png": "y"}),
        ({"g.png": "x", "f.png": "z"}, ("x", "y", "z"), {**BEFORE, "g.png": "x", "f.png": "z"}),
        ({"e.png": None}, ("x", "y"), {name: BEFORE[name] for name in FILES[:4]}),
        (
            {"a.png": "new", "f.png": "also new"},
            ("x", "y", "z", "also new", "new"),
            {**BEFORE, "a.png": "new", "f.png": "also new"},
        ),
        ({"a.png": "x", "f.png": None}, ("x", "y", "z"), BEFORE),
    ],
    ids=["corrected", "added", "a class gone", "new classes", "nothing"],
)
def test_the_vote_is_that_of_a_bank_made_with_the_new_labels(changes, classes, after) -> None:
    done = change_support(classifier(("x", "y", "z"), BEFORE), FILES, changes, features_of)
    assert done.files == tuple(after) and done.classifier.classes == classes
    queries = torch.randn(9, 6, generator=torch.Generator().manual_seed(9))
    wanted = classifier(classes, after).votes(queries)
    assert torch.allclose(done.classifier.votes(queries).probabilities, wanted.probabilities)
    assert done.changed == sum(BEFORE.get(name) != after.get(name) for name in POOL)


def test_what_is_told_of_the_changes() -> None:
    changes = {"a.png": "y", "e.png": None, "c.png": "y", "f.png": "new", "g.png": None}
    done = change_support(classifier(("x", "y", "z"), BEFORE), FILES, changes, features_of)
    assert (done.corrected, done.added, done.removed) == (("a.png",), ("f.png",), ("e.png",))
    assert (done.new_classes, done.lost_classes) == (("new",), ("z",))


def test_two_classes_must_be_left_and_the_method_must_allow_it() -> None:
    with pytest.raises(InputError, match="only y has labels"):
        change_support(classifier(("x", "y", "z"), BEFORE), FILES, dict.fromkeys(("a.png", "b.png", "e.png")), features_of)
    former = LabelSpreading(3, torch.zeros(4, 6), torch.ones(4, 3), 2, cosine=False)  # of format 3
    spread = classifier(("x", "y", "z"), BEFORE, former)
    with pytest.raises(InputError, match="fit again"):
        change_support(spread, FILES, {"a.png": "y"}, features_of)


def test_only_other_labels_count_as_differences() -> None:
    before = [{"file": n, "label": label, "probability": "0.7000"} for n, label in (("a", "x"), ("b", "y"))]
    after = [Prediction("a", "x", 0.4), Prediction("b", "x", 0.6)]
    (change,) = differences(before, after)
    assert (change.file, change.before, change.before_probability, change.after, change.after_probability) == (
        "b", "y", 0.7, "x", 0.6,
    )  # fmt: skip


def test_nothing_that_takes_long_to_import_is_imported_for_it() -> None:
    slow = ("torchvision", "timm", "sklearn", "onnx", "onnxruntime", "matplotlib", "omegaconf")
    code = f"import sys; import paws.labels.relabel; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
