"""The folders of the suite: what is written of pictures, and which labels a draw gives."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.folders import build as suite
from benchmarks.folders.build import build, draw
from benchmarks.folders.measure import COLUMNS, IN_USE, TRUE, UNIFORM, Results, chance, named
from benchmarks.folders.pictures import Picture, by_folder, folders_of
from benchmarks.folders.summary import draw_figure, figures


def _picture(value: int, size: int = 4) -> Image.Image:
    return Image.fromarray(np.full((size, size), value, np.uint8))


def _named(count: int, names: str = "ab") -> Iterable[Picture]:
    return [(_picture(i), names[i % len(names)]) for i in range(count)]


def test_a_built_folder_has_every_picture_once_with_its_truth(tmp_path: Path) -> None:
    files = build(lambda: [*_named(6), (_picture(0), "a"), (_picture(200), None)], tmp_path / "folder")
    assert files.classes == ("a", "b") and sorted(files.labels.tolist()) == [-1, 0, 0, 0, 1, 1, 1]
    for path, label in zip(files.paths, files.labels.tolist(), strict=True):
        with Image.open(path) as image:
            value = image.getpixel((0, 0))
        assert label == (-1 if value == 200 else value % 2)


def test_a_built_folder_is_read_again_and_not_built_again(tmp_path: Path) -> None:
    first = build(lambda: _named(6), tmp_path / "folder")
    second = build(list, tmp_path / "folder")
    assert list(first.names) == list(second.names) and torch.equal(first.labels, second.labels)


def test_a_folder_that_failed_half_way_is_built_anew(tmp_path: Path) -> None:
    def broken() -> Iterable[Picture]:
        return [*_named(3), (tmp_path / "gone.png", "a")]

    with pytest.raises(FileNotFoundError):
        build(broken, tmp_path / "folder")
    assert len(build(lambda: _named(6), tmp_path / "folder")) == 6


def test_no_more_pictures_than_asked_and_none_that_is_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(build(lambda: _named(6), tmp_path / "some", largest=4)) == 4
    monkeypatch.setattr(suite, "PIXELS", 16)
    path = tmp_path / "large.png"
    _picture(9, 5).save(path)
    assert len(build(lambda: [*_named(2), (path, "a")], tmp_path / "small")) == 2


def test_links_are_left_out_and_other_folders_have_no_class(tmp_path: Path) -> None:
    for name in ("birds/1.png", "birds/small/2.png", "tools/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        _picture(1).save(tmp_path / name)
    (tmp_path / "birds/link.png").symlink_to(tmp_path / "tools/3.png")
    found = {Path(str(path)).name: label for path, label in by_folder(tmp_path, ["birds"], others=True)}
    assert found == {"1.png": "birds", "2.png": "birds", "3.png": None}
    assert folders_of(tmp_path, 2) == ["birds"]


@pytest.mark.parametrize("per_class", [1, 4])
def test_an_even_draw_gives_as_many_of_each_class_but_no_more_than_half(per_class: int) -> None:
    labels = torch.tensor([0] * 20 + [1] * 4 + [2] + [-1] * 10)
    known = draw(labels, per_class, 0)
    assert torch.bincount(known[known >= 0]).tolist() == [per_class, min(per_class, 2), 1]
    assert torch.equal(known[known >= 0], labels[known >= 0])
    assert not torch.equal(known, draw(labels, per_class, 1))


def test_a_sample_has_as_many_labels_in_all_and_one_of_each_class() -> None:
    labels = torch.tensor([0] * 90 + [1] * 9 + [2] + [-1] * 50)
    counts = torch.stack(
        [torch.bincount((known := draw(labels, 10, i, even=False))[known >= 0], minlength=3) for i in range(8)]
    )
    assert (counts.sum(1) == 30).all() and (counts >= 1).all()
    assert 22 < counts[:, 0].double().mean() < 29  # nine tenths of the pool are of it


def _row(method: str, accuracy: float, draw: int, **more: float) -> dict[str, str]:
    head = {"folder": "f", "labels": "even", "per_class": "4", "draw": str(draw), "method": method}
    return {**head, "accuracy": str(accuracy), **{key: str(value) for key, value in more.items()}}


def test_the_error_of_calibration_that_chance_makes_falls_with_the_number_of_predictions() -> None:
    few, many = (chance(torch.full((count,), 0.7)) for count in (50, 5000))
    assert 0.02 < few < 0.1  # standard error of 50 draws: 0.065, whose mean size is 0.052
    assert many < 0.2 * few


def test_results_are_kept_and_only_what_is_missing_is_measured(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.csv")
    rest = {"calibration_error": 0.1, "precision": 0.9, "kept": 0.5}
    for number, right in enumerate((0.5, 0.7)):
        results.add([_row("paws", right, number), _row("logistic_regression", 0.4, number), _row(IN_USE, 0.65, number, **rest)])
        results.add([_row(named(IN_USE, TRUE), 0.7, number)])
        results.add([_row(named(IN_USE, UNIFORM), 0.6, number), _row("combination", 0.9, number)])
    assert math.isnan(results.mean("none_auroc", IN_USE, "f", 4))
    again = Results(results.path)
    assert results.path.read_text().startswith(",".join(COLUMNS))
    assert not again.missing(("f", "even", 4, 1)) and again.missing(("f", "even", 4, 2))
    assert not again.missing(("f", "even", 4, 1), TRUE) and again.missing(("f", "even", 4, 2), TRUE)
    assert again.mean("accuracy", "paws", "f", 4) == pytest.approx(0.6)
    found = {figure.name: figure for figure in figures(again)}
    assert found["in use less logistic regression, mean"].value == 25.0
    assert found["in use less the best single method, worst folder and labels"].value == 5.0
    assert found["share of that which the estimate gains"].value == 0.5
    assert found["right of what is kept, worst folder, less what was asked"].value == -5.0
    assert found["calibration error in points, labels a class: 4 and more, worst folder"].missed
    draw_figure(again, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width > 100
