"""Presets: what they fill in, what they leave, and that nothing has to be downloaded for any of them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from paws.config.options import FitOptions, PresetName
from paws.errors import InputError
from paws.fit.presets import PRESETS, chosen, fitting_size, plan, smaller, views_of
from paws.fit.progress import in_words
from paws.models.hub import available
from paws.models.sources import LITE
from tests.commands import Command
from tests.conftest import TINY, draw, write_patterns

PICTURES = [draw("dots", number, 100) for number in range(3)]


@pytest.mark.parametrize("name", get_args(PresetName))
def test_every_preset_works_without_a_download(name: PresetName) -> None:
    found = plan(FitOptions(preset=name), PICTURES).options
    assert found.backbone and all(map(available, found.backbone.split(",")))
    assert found.image_size == min(PRESETS[name].image_size, 224)
    assert found.views == PRESETS[name].views


@pytest.mark.parametrize(("size", "views"), [(160, 1), (192, 1), (128, 2), (96, 4), (64, 5)])
def test_smaller_views_are_more(size: int, views: int) -> None:
    assert views_of(PRESETS["balanced"], size) == views


def test_what_is_given_stays() -> None:
    found = plan(FitOptions(preset="fast", backbone=TINY, views=4), PICTURES)
    assert (found.options.backbone, found.options.image_size, found.options.views) == (TINY, None, 4)
    assert found.why == f"{TINY} was asked for"
    assert plan(FitOptions(image_size=48), PICTURES).options.image_size == 48
    with pytest.raises(InputError, match="--weights is the file of one network's weights: say which one"):
        plan(FitOptions(weights="w.pt"), PICTURES)


def test_the_folder_and_the_machine_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paws.fit.presets.cores", lambda: 2)
    assert [chosen(2_000), chosen(1_000_000), chosen(2_000, "cuda")] == ["balanced", "fast", "best"]
    assert plan(FitOptions(), PICTURES, former="fast").options.preset == "fast", "an earlier choice stays"
    assert "chosen for this folder and machine" in plan(FitOptions(), PICTURES).why


def test_small_pictures_are_not_enlarged_without_end(tmp_path: Path) -> None:
    PICTURES[0].save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_text("no image")
    assert fitting_size([tmp_path / "a.png", tmp_path / "broken.png"]) == 224
    assert fitting_size([np.zeros((28, 28), np.uint8)] * 2) == 64
    assert fitting_size([np.zeros((45, 90, 3), np.uint8)]) == 96


def test_only_smaller_presets_are_offered() -> None:
    assert [name for name, share in smaller("best", 224, 5) if share < 1] == ["fast", "balanced"]
    assert [name for name, _ in smaller("balanced", 160, 1)] == ["fast"]
    assert smaller("fast", 96, 1) == smaller(None, 96, 1) == []


@pytest.mark.parametrize(("seconds", "words"), [(3, "5 seconds"), (61, "60 seconds"), (250, "4 minutes"), (9000, "2.5 hours")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_fit_without_a_word_says_what_it_uses(command: Command, tmp_path: Path) -> None:
    images = write_patterns(tmp_path, per_class=4, labelled=2)
    where = [images, "--labels", tmp_path / "labels.csv", "-o", tmp_path / "run", "--steps", 5]
    out = command("fit", *where)
    assert f"{LITE} at 64 pixels, 1 + 5 views of each image: the backbone of the preset balanced" in out
    again = command("fit", *where[:4], tmp_path / "other", "--steps", 6)
    assert "embed    0 images, 12 were there" in again, "features are shared by runs"
