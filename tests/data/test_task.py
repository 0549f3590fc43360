"""A task joins a dataset with its label split, whatever broken files are left out."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from paws.data.datasets import FileSet
from paws.data.task import load_task
from paws.errors import InputError
from tests.conftest import write_patterns


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """train/{a,b} with six images each, of which a/a_2 and b/b_0 are broken; val/{a,b} with two, b_1 broken."""
    for split, count in (("train", 6), ("val", 2)):
        for c in "ab":
            for i in range(count):
                path = tmp_path / split / c / f"{c}_{i}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.effect_noise((32, 32), 50).save(path)
    for name in ("train/a/a_2.jpg", "train/b/b_0.jpg", "val/b/b_1.jpg"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:300])
    return tmp_path


def names(files, rows) -> list[str]:
    assert isinstance(files, FileSet)
    return [files.names[i] for i in rows.tolist()]


def test_broken_files_stop_before_anything_is_trained(root):
    with pytest.raises(InputError, match=r"2 of 12 images are broken"):
        load_task("folder", root, per_class=1)


def test_split_files_mean_the_same_images_when_others_are_left_out(root, tmp_path):
    (tmp_path / "labelled.txt").write_text("a_3.jpg\nb_5.jpg\nb_0.jpg\na_0.jpg\n")
    (tmp_path / "val.txt").write_text("2\n4\n11\n")  # positions among all images: a_2 (broken), a_4, b_5
    task = load_task("folder", root, file=tmp_path / "labelled.txt", skip_broken=True)
    assert names(task.train, task.labelled) == ["a/a_3.jpg", "b/b_5.jpg", "a/a_0.jpg"]
    assert task.train.labels[task.labelled].tolist() == [0, 1, 0] and len(task.train) == 10
    assert task.test is not None and len(task.test) == 3
    assert (task.visible >= 0).sum() == 3
    (tmp_path / "labelled.txt").write_text("a_3.jpg\nb_3.jpg\n")
    task = load_task("folder", root, file=tmp_path / "labelled.txt", validation=tmp_path / "val.txt", skip_broken=True)
    assert names(task.train, task.validation) == ["a/a_4.jpg", "b/b_5.jpg"]


def test_draws_take_readable_images_only(root):
    task = load_task("folder", root, per_class=5, skip_broken=True)
    assert torch.bincount(task.train.labels[task.labelled]).tolist() == [5, 5]
    with pytest.raises(InputError, match="class a has 5 images"):
        load_task("folder", root, per_class=6, skip_broken=True)


def test_validation_must_not_overlap(root, tmp_path):
    (tmp_path / "labelled.txt").write_text("a_3.jpg\nb_3.jpg\n")
    (tmp_path / "val.txt").write_text("a_3.jpg\n")
    with pytest.raises(InputError, match=r"val\.txt: 1 validation images"):
        load_task("folder", root, file=tmp_path / "labelled.txt", validation=tmp_path / "val.txt", skip_broken=True)


def test_what_is_wrong_with_the_held_out_folder_is_said(root):
    (root / "val/c").mkdir()
    with pytest.raises(InputError, match="val/c"):
        load_task("folder", root, per_class=1, skip_broken=True)
    flat = load_task("folder", root / "train", per_class=1, skip_broken=True)
    assert flat.test is None


def test_a_csv_of_labels_makes_a_task_of_any_folder(tmp_path: Path) -> None:
    images = write_patterns(tmp_path, per_class=3, labelled=2)
    task = load_task("folder", images, file=tmp_path / "labels.csv")
    assert len(task.train) == 9
    assert task.test is None
    assert task.classes == ("dots", "rows", "slope")
    assert torch.bincount(task.train.labels[task.labelled]).tolist() == [2, 2, 2]
    assert (task.visible >= 0).sum() == 6
