"""Broken files stop a run before it starts, or are left out with a count."""

import logging
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from paws.data import broken as broken_module
from paws.data.broken import find_broken, without_broken
from paws.data.folder import FileSet, index_folder
from paws.errors import InputError
from tests.ranks import run_ranks


@pytest.fixture
def files(tmp_path: Path) -> FileSet:
    """Four files, of which a/2 and b/3 are cut short."""
    root = tmp_path / "images"
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 32), 50).save(path)
        if "2" in name or "3" in name:
            path.write_bytes(path.read_bytes()[:400])
    return index_folder(root)


def test_the_error_names_them(files):
    with pytest.raises(InputError, match=r"(?s)2 of 4 images are broken.*skip_broken=true.*a/2\.jpg.*b/3\.jpg"):
        without_broken(files, skip=False)


def test_skipping_leaves_them_out_with_a_count(files, caplog):
    with caplog.at_level(logging.WARNING):
        kept, position = without_broken(files, skip=True)
    assert "2 of 4 images are broken and left out" in caplog.text and "a/2.jpg" in caplog.text
    assert list(kept.names) == ["a/1.jpg", "b/4.jpg"] and kept.labels.tolist() == [0, 1] and kept.classes == ("a", "b")
    assert position.tolist() == [0, -1, -1, 1]
    whole, position = without_broken(kept, skip=False)
    assert whole is kept and position.tolist() == [0, 1]


def test_the_answer_is_kept_until_a_folder_changes(files, tmp_path, monkeypatch):
    first = find_broken(files, cache_dir=tmp_path / "cache")
    assert list(first) == [1, 2]
    calls = []
    real = broken_module.inspect_images
    monkeypatch.setattr(broken_module, "inspect_images", lambda *args: calls.append(1) or real(*args))
    assert find_broken(files, cache_dir=tmp_path / "cache") == first and not calls
    Path(files.paths[1]).write_bytes(Path(files.paths[0]).read_bytes())
    os.utime(Path(files.paths[1]).parent, (1, 1))
    assert list(find_broken(files, cache_dir=tmp_path / "cache")) == [2] and len(calls) == 1


def test_a_broken_cache_is_no_cache(files, tmp_path):
    find_broken(files, cache_dir=tmp_path / "cache")
    (cache,) = (tmp_path / "cache").iterdir()
    for text in ("", "[1]", '{"a": "b"}'):
        cache.write_text(text)
        assert list(find_broken(files, cache_dir=tmp_path / "cache")) == [1, 2]


def check_on_a_rank(paths: list[str]) -> list[int]:
    return list(find_broken(FileSet(paths, torch.zeros(len(paths), dtype=torch.int64), ("a",))))


def test_all_ranks_share_the_work_and_the_answer(files):
    for found in run_ranks(check_on_a_rank, 3, list(files.paths)):
        assert found == [1, 2]
