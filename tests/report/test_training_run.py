"""Pages of real training runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from paws import train
from paws.config.cards import load_config
from paws.errors import InputError
from paws.report import write_report
from paws.report.training_run import training_contents
from paws.train.evaluation import embeddings
from paws.voting import soft_vote
from tests.digits_runs import CARD, finish, paws
from tests.report.made import square


def run_of(folder: Path, *overrides: str) -> Path:
    """A finished digits run of a few steps."""
    (folder / "card.yaml").write_text(CARD)
    config = load_config(folder / "card.yaml", ["optim.epochs=1", f"run_dir={folder / 'run'}", *overrides])
    train.train(config, quiet=True)
    return folder / "run"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = run_of(tmp_path_factory.mktemp("digits"))
    (run / "baselines.json").write_text(json.dumps({"logistic regression on pixels": 0.8}))
    return run


def test_figures_are_those_of_evaluate(digits: Path) -> None:
    contents = training_contents(digits)
    result = json.loads((digits / "summary.json").read_text())
    assert contents.headline is not None
    assert contents.headline.value == pytest.approx(result["top1"])
    assert contents.evaluated is not None
    assert len(contents.evaluated.truth) == result["test_images"]
    assert {bar.method: bar.accuracy for bar in contents.bars}["logistic regression on pixels"] == 0.8
    assert contents.labelled is not None
    assert contents.labelled.tolist() == [4] * 10


def test_neighbours_are_the_heaviest_labelled_images(digits: Path) -> None:
    gallery = training_contents(digits).gallery
    config, task, model, _ = train.load_run(digits)
    assert gallery is not None
    assert gallery.neighbours is not None
    assert gallery.weights is not None
    labelled, labels = task.train.select(task.labelled), task.train.labels[task.labelled]
    support, query = (embeddings(model, config, task, images, torch.device("cpu")) for images in (labelled, task.test))
    for i in (0, 17, 449):
        weights = soft_vote(query[i : i + 1], support, torch.arange(len(support)), len(support), 0.1)[0]
        best = weights.argsort(descending=True)[:3]
        assert gallery.weights[i] == pytest.approx(weights[best].numpy(), abs=1e-4)
        assert gallery.given[gallery.neighbours[i]].tolist() == labels[best].tolist()
        picture = np.asarray(gallery.open(int(gallery.neighbours[i][0])))
        assert np.array_equal(picture, task.train.images[task.labelled[best[0]]][0].numpy())  # type: ignore[union-attr]
    assert (gallery.given >= 0).sum() == 40
    assert (gallery.neighbours[gallery.given >= 0] == -1).all()


def test_the_command_writes_one_small_page(digits: Path, tmp_path: Path) -> None:
    out, _ = finish(paws("report", digits, "-o", tmp_path / "page.html", cwd=tmp_path))
    assert "open it in a browser" in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(page) < 5_000_000
    for part in ("Beside the baselines", "Confusion matrix", "Map of the images", "Learning rate", "small_cnn"):
        assert part in page
    assert write_report(digits) == digits / "report.html"
    assert (digits / "report.html").read_text(encoding="utf-8") == page


def test_a_classifier_has_no_neighbours(tmp_path: Path) -> None:
    contents = training_contents(run_of(tmp_path, "recipe.name=finetune", "optim.steps_per_epoch=5"))
    result = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert contents.headline is not None
    assert contents.headline.value == pytest.approx(result["top1"])
    assert contents.gallery is not None
    assert contents.gallery.neighbours is None
    write_report(tmp_path / "run")


def test_image_files_without_a_held_out_split(tmp_path: Path) -> None:
    for c in range(2):
        (tmp_path / f"images/kind {c}").mkdir(parents=True)
        for i in range(6):
            square(c, i).save(tmp_path / f"images/kind {c}/é {i}.png")
    card: dict[str, Any] = yaml.safe_load(CARD)
    card["data"] = {"dataset": "folder", "root": str(tmp_path / "images"), "labels": {"per_class": 3}}
    card["views"] = {"preset": "imagenet", "size": 16}
    card["support"] = {"images_per_class": 2}
    card["optim"] |= {"epochs": 1, "steps_per_epoch": 2, "batch_size": 4}
    card["run_dir"] = str(tmp_path / "run")
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
    train.train(load_config(tmp_path / "card.yaml"), quiet=True)
    contents = training_contents(tmp_path / "run")
    assert contents.evaluated is not None
    assert len(contents.evaluated.truth) == 6
    assert contents.gallery is not None
    assert (contents.gallery.given < 0).sum() == 6
    write_report(tmp_path / "run")


def test_a_run_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(InputError, match="no checkpoint"):
        write_report(tmp_path)
