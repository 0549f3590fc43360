"""Held-out predictions after labels were changed, against a vote that is counted out one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paws.classifiers.base import Predictor
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.soft_nearest_neighbours import SoftNearestNeighbours
from paws.fit.run import load_fit
from paws.labels.recompute import held_out
from paws.labels.relabel import relabel_run

CHANGES = {"sü-0.png": "dots", "dü-6.png": "dots", "rü-2.png": None}


@pytest.fixture(scope="module")
def paws_run(fitted_run: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit that surely uses PAWS."""
    from paws.config.options import FitOptions
    from paws.fit.pipeline import fit_folder
    from tests.conftest import TINY, write_patterns

    folder = tmp_path_factory.mktemp("paws")
    images = write_patterns(folder)
    options = FitOptions(backbone=TINY, weights=str(tiny_weights), image_size=32, views=2, steps=30, model="paws")
    return fit_folder(images, folder / "labels.csv", folder / "run", options, workers=0, quiet=True).folder


def test_each_image_is_voted_on_by_heads_that_did_not_see_its_label(paws_run: Path) -> None:
    run = load_fit(paws_run)
    done, _ = relabel_run(run, CHANGES)
    found = held_out(run, done.classifier, done.files)
    classifier, rule = done.classifier, done.classifier.predictor
    assert isinstance(rule, PawsEnsemble)
    x = classifier.points(classifier.support)
    count = 1 + max(fold for fold in run.folds if fold is not None)
    assert len(rule.heads) % count == 0
    wanted = []
    for i, file in enumerate(done.files):
        fold = run.folds[run.files.index(file)]
        heads = [h for n, h in enumerate(rule.heads) if fold is None or n % count == fold]
        others = [j for j in range(len(done.files)) if j != i]
        labels = classifier.support_labels[others]
        with torch.inference_mode():
            wanted.append(
                PawsEnsemble(len(classifier.classes), heads, rule.temperature, rule.project)(x[[i]], x[others], labels)[0][0]
            )
    logs = torch.stack(wanted).clamp_min(1e-6).log()
    ratio = found.probabilities.log() - found.probabilities.log()[:, :1]
    exponent = float(ratio.flatten() @ (logs - logs[:, :1]).flatten() / (logs - logs[:, :1]).flatten().square().sum())
    assert torch.allclose(found.probabilities, (logs * exponent).softmax(1), atol=1e-3)
    assert found.provenance == "cross_validated"
    assert bool(found.measured.all())


def test_before_any_change_the_same_images_are_measured(paws_run: Path) -> None:
    run = load_fit(paws_run)
    found = held_out(run, run.bundle.classifier, run.bundle.support_files)
    assert int(found.measured.sum()) == run.record.score.accuracy.count


@pytest.mark.parametrize("kind", [PawsEnsemble, SoftNearestNeighbours])
def test_copies_of_an_image_have_no_part_in_what_is_predicted_of_it(kind: type[Predictor]) -> None:
    """The last image is a copy of the first one with a label of its own, on which nothing of the first one depends."""
    g = torch.Generator().manual_seed(0)
    x, labels = torch.randn(9, 6, generator=g), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0])
    x[8] = x[0]
    torch.manual_seed(0)
    heads = [torch.nn.Linear(6, 4) for _ in range(2)]
    vote = PawsEnsemble(3, heads, 0.2, torch.nn.Identity()) if kind is PawsEnsemble else kind(3, 0.1)
    alone, fold, found = torch.arange(9), torch.arange(9) % 2, {}
    copies = torch.where(alone == 8, 0, alone)
    for label in (1, 2):
        labels[8] = label
        with torch.inference_mode():
            found[label] = [vote.leave_out(x, labels, groups, fold, 2, 0)[0][0] for groups in (alone, copies)]
    assert torch.allclose(found[1][1], found[2][1])
    assert not torch.allclose(found[1][0], found[1][1], atol=1e-3)


def test_a_copy_that_gets_a_label_is_judged_by_the_heads_that_did_not_see_the_other(tiny_weights: Path, tmp_path: Path) -> None:
    from paws.config.options import FitOptions
    from paws.fit.pipeline import fit_folder
    from tests.conftest import TINY, write_patterns

    images = write_patterns(tmp_path)
    (images / "copy.png").write_bytes((images / "sü-0.png").read_bytes())
    options = FitOptions(backbone=TINY, weights=str(tiny_weights), image_size=32, views=1, steps=3, model="paws")
    run = fit_folder(images, tmp_path / "labels.csv", tmp_path / "run", options, workers=0, quiet=True)
    done, _ = relabel_run(run, {"copy.png": "slope"})
    found = held_out(run, done.classifier, done.files)
    rows = [done.files.index(name) for name in ("sü-0.png", "copy.png")]
    assert torch.allclose(found.probabilities[rows[0]], found.probabilities[rows[1]], atol=1e-4)
