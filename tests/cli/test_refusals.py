"""Broken data as a user meets it: one message that names it, exit code 2, nothing written; or converted, or skipped."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.digits_runs import finish, paws
from tests.images import WNIDS, imagenet_folder

CARD = {
    "run_dir": "run",
    "data": {"dataset": "folder", "root": "images"},
    "views": {"preset": "imagenet", "size": 16},
    "support": {"images_per_class": 2},
    "model": {"name": "small_cnn", "output_dim": 16},
    "optim": {"name": "adamw", "lr": 1e-3, "epochs": 1, "steps_per_epoch": 1, "batch_size": 4},
}
FIRST = f"images/train/{WNIDS[0]}/{WNIDS[0]}_0.JPEG"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A card, its images, and split files of them."""
    folder = tmp_path_factory.mktemp("sound")
    imagenet_folder(folder / "images", train=4, val=1, classes=3)
    (folder / "card.yaml").write_text(json.dumps(CARD))
    for number in (0, 1):
        (folder / f"{number}.txt").write_text("".join(f"{wnid}_{number}.JPEG\n" for wnid in WNIDS[:3]))
    return folder


@pytest.fixture
def place(sound: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(sound, tmp_path / "place"))


def train(place: Path, *changes: str, code: int = 0) -> tuple[str, str]:
    out, err = finish(paws("train", "card.yaml", *changes, cwd=place), code=code)
    assert "Traceback" not in err
    assert (place / "run").exists() == (code == 0)
    return out, err


def empty(place: Path) -> None:
    (place / FIRST).write_bytes(b"")


def truncated(place: Path) -> None:
    content = (place / FIRST).read_bytes()
    (place / FIRST).write_bytes(content[: len(content) // 2])


def no_image(place: Path) -> None:
    (place / FIRST).write_text("<html>not found</html>")


@pytest.mark.parametrize("spoil", [empty, truncated, no_image])
def test_a_broken_image_is_named_or_skipped_with_a_count(spoil, place):
    spoil(place)
    _, err = train(place, code=2)
    assert "1 of 12 images are broken" in err and f"{WNIDS[0]}_0.JPEG" in err and "data.skip_broken=true" in err
    out, err = train(place, "data.skip_broken=true")
    assert "1 of 12 images are broken and left out" in out + err and f"{WNIDS[0]}_0.JPEG" in out + err


def test_whatever_can_be_converted_is(place):
    grey = np.random.default_rng(0).integers(0, 256, (40, 32), dtype=np.uint8)
    folder = place / f"images/train/{WNIDS[1]}"
    Image.fromarray(grey).save(folder / "grey.jpg")
    Image.fromarray(np.stack([grey] * 4, 2), mode=None).convert("RGB").convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "16bit.png")
    Image.fromarray(grey).save(folder / "animated.gif", save_all=True, append_images=[Image.fromarray(255 - grey)])
    Image.fromarray(np.dstack([grey] * 4)).save(folder / "alpha.png")
    out, _ = train(place)
    assert "broken" not in out


def test_mistakes_in_folders_and_splits_are_named(place):
    (place / "missing.txt").write_text(f"{WNIDS[0]}_9.JPEG\n")
    (place / "class.txt").write_text("n99999999_1.JPEG\n")
    both = [f"data.labels.file={place}/0.txt", f"data.validation={place}/0.txt"]
    for changes, message in (
        (["data.labels.file=missing.txt"], f"missing.txt:1: {WNIDS[0]}_9.JPEG: there is no such image"),
        (["data.labels.file=class.txt"], "class.txt:1: n99999999_1.JPEG: there is no class 'n99999999'"),
        (["data.labels.file=gone.txt"], "gone.txt: cannot be read"),
        (both, "0.txt: 3 validation images are also labelled training images"),
        (["data.root=nowhere"], "nowhere: no such folder"),
        (["data.labels.per_class=9"], f"per_class is 9, but class {WNIDS[0]} has 4 images"),
    ):
        _, err = train(place, *changes, code=2)
        assert message in err
    (place / "images/train/n00000000").mkdir()
    _, err = train(place, code=2)
    assert "n00000000: this class folder holds no image" in err
    (place / "images/train/n00000000").rmdir()
    (place / f"images/val/{WNIDS[0]}").rename(place / "images/val/n00000001")
    _, err = train(place, code=2)
    assert "images/val/n00000001: no such class among the training classes" in err
    train(place, "data.labels.file=0.txt", "data.validation=1.txt", "data.root=images", code=2)  # that class is still there


def test_data_is_staged_from_a_folder_and_from_an_archive(place):
    with tarfile.open(place / "images.tar", "w") as tar:
        tar.add(place / "images", "imagenet")
    for source in ("images", "images.tar"):
        train(place, f"data.root={source}", "data.stage_to=node")
        shutil.rmtree(place / "run")
    copies = sorted(path.name.rpartition("-")[0] for path in (place / "node").iterdir())
    assert copies == ["images", "images"]
    content = (place / "images.tar").read_bytes()
    (place / "images.tar").write_bytes(content[: len(content) // 2])
    for changes, message in (
        (["data.root=images.tar", "data.stage_to=node"], "images.tar: broken or unsafe archive"),
        (["data.root=images", "data.stage_to=card.yaml/here"], "copying to"),
        (["data.root=gone.tar", "data.stage_to=node"], "gone.tar: cannot be copied to the node"),
    ):
        _, err = train(place, *changes, code=2)
        assert message in err
    assert len(list((place / "node").iterdir())) == 2
