"""The index of an image folder: compact, cached, renewed when the folder changes."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from paws.data.folder import FileSet, Paths, index_folder
from paws.errors import InputError

NAMES = ["a/1.jpg", "a/sub/2.png", "b/ü 3.JPEG", "c c/4.webp", "c c/5.jpg"]
LONG_AGO = 1_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    age(root)
    return root


def age(root: Path) -> None:
    """Folders that changed a moment ago are not cached."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        os.utime(folder, (LONG_AGO, LONG_AGO))


def same(a: FileSet, b: FileSet) -> bool:
    return list(a.paths) == list(b.paths) and torch.equal(a.labels, b.labels) and a.classes == b.classes


def test_paths_are_a_sequence_of_strings():
    names = ["", "é/ü.jpg", "x" * 300, "a b", os.fsdecode(b"\xff.jpg")]
    paths = Paths.of("/root", names)
    assert list(paths.names) == names and [paths.names[i] for i in range(-5, 0)] == names
    assert paths[1] == "/root/é/ü.jpg" and paths[1:4] == [f"/root/{name}" for name in names[1:4]]
    assert list(pickle.loads(pickle.dumps(paths))) == list(paths)
    with pytest.raises(IndexError):
        paths[5]
    assert list(Paths.of("", [])) == []


def test_index(root):
    files = index_folder(root)
    assert list(files.names) == NAMES and files.paths[2] == str(root / NAMES[2])
    assert files.labels.tolist() == [0, 0, 1, 2, 2] and files.labels.dtype == torch.int64
    assert files.classes == ("a", "b", "c c")


def test_select_keeps_names_labels_and_classes(root):
    some = index_folder(root).select(torch.tensor([4, 0]))
    assert list(some.names) == [NAMES[4], NAMES[0]] and some.labels.tolist() == [2, 0]
    assert some.classes == ("a", "b", "c c") and some.paths[1] == str(root / NAMES[0])


def test_cached_index_is_the_same_and_is_used(root, tmp_path):
    fresh = index_folder(root, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    assert same(fresh, index_folder(root, tmp_path / "cache"))
    with np.load(file) as arrays:
        content = dict(arrays)
    content["buffer"] = np.frombuffer(content["buffer"].tobytes().replace(b"4.webp", b"4.WEBP"), np.uint8)
    np.savez(file, **content)
    assert "c c/4.WEBP" in list(index_folder(root, tmp_path / "cache").names)


@pytest.mark.parametrize("change", ["add", "remove", "deep", "class"])
def test_a_changed_folder_is_indexed_anew(root, tmp_path, change):
    index_folder(root, tmp_path / "cache")
    new = {"add": "b/0.jpg", "deep": "a/sub/9.jpg", "class": "d/1.jpg"}
    if change == "remove":
        (root / NAMES[3]).unlink()
    else:
        (root / new[change]).parent.mkdir(exist_ok=True)
        (root / new[change]).touch()
    assert same(index_folder(root, tmp_path / "cache"), index_folder(root))


def test_two_roots_share_a_cache_folder(root, tmp_path):
    other = tmp_path / "other"
    (other / "z").mkdir(parents=True)
    (other / "z/1.jpg").touch()
    age(other)
    for _ in range(2):
        assert index_folder(root, tmp_path / "cache").classes == ("a", "b", "c c")
        assert index_folder(other, tmp_path / "cache").classes == ("z",)


def test_a_broken_cache_is_replaced(root, tmp_path):
    fresh = index_folder(root, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2], pickle.dumps("text")):
        file.write_bytes(content)
        assert same(index_folder(root, tmp_path / "cache"), fresh)
        assert file.read_bytes() == whole or len(file.read_bytes()) == len(whole)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_folder_changed_just_now_is_not_cached(root, tmp_path):
    os.utime(root / "a")
    index_folder(root, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_classes_of_the_training_set_give_the_ids(root):
    files = index_folder(root, classes=("0", "a", "b", "c c"))
    assert files.labels.tolist() == [1, 1, 2, 3, 3] and len(files.classes) == 4
    with pytest.raises(InputError, match=r"images/c c: no such class among the training classes \(a, b"):
        index_folder(root, classes=("a", "b"))


def test_mistakes_are_named(root, tmp_path):
    (root / "empty").mkdir()
    (root / "empty/readme.txt").touch()
    with pytest.raises(InputError, match="images/empty: this class folder holds no image"):
        index_folder(root)
    with pytest.raises(InputError, match="gone: not a readable folder"):
        index_folder(tmp_path / "gone")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/1.jpg").touch()
    with pytest.raises(InputError, match="flat: has no class folders"):
        index_folder(tmp_path / "flat")
