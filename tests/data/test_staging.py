"""A copy on the node is whole or not there, and nobody waits forever."""

import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from paws.data.staging import stage
from paws.errors import InputError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for name in ("train/a/1.jpg", "train/b/ü 2.jpg", "val/a/3.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode() * 1000)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def archive(images: Path, mode: str, suffix: str, inside: str = "images") -> Path:
    path = images.parent / f"images{suffix}"
    with tarfile.open(path, mode, format=tarfile.USTAR_FORMAT) as tar:
        tar.add(images, inside)
    return path


def test_folder_is_copied_once(images, tmp_path):
    copy = stage(images, tmp_path / "node")
    assert contents(copy) == contents(images)
    assert [path.name for path in (tmp_path / "node").iterdir()] == [copy.name]
    (copy / "mark").touch()
    assert stage(images, tmp_path / "node") == copy and (copy / "mark").exists()


def test_a_changed_source_is_copied_anew(images, tmp_path):
    first = stage(images, tmp_path / "node")
    (images / "test").mkdir()
    os.utime(images, (1, 1))
    second = stage(images, tmp_path / "node")
    assert first != second and (second / "test").is_dir()


@pytest.mark.parametrize(("mode", "suffix"), [("w", ".tar"), ("w:gz", ".tar.gz"), ("w:xz", ".tar.xz")])
@pytest.mark.parametrize("inside", ["images", "."])
def test_archive_is_unpacked(images, tmp_path, mode, suffix, inside):
    copy = stage(archive(images, mode, suffix, inside), tmp_path / "node")
    assert contents(copy) == contents(images)


def test_cut_archives_are_refused_and_leave_nothing(images, tmp_path):
    for mode, suffix in (("w", ".tar"), ("w:gz", ".tar.gz"), ("w:xz", ".tar.xz")):
        path = archive(images, mode, suffix)
        whole = path.read_bytes()
        with tarfile.open(path) as tar:
            tar.getmembers()
            end = tar.offset  # where the end mark begins: a cut here is on the border of a file
        end = min(end, len(whole) - 9)  # a compressed file is shorter
        for size in {0, 100, end // 2, end}:
            path.write_bytes(whole[:size])
            with pytest.raises(InputError, match=r"images\.tar"):
                stage(path, tmp_path / "node")
            assert not list((tmp_path / "node").iterdir())


def test_archive_that_writes_elsewhere_is_refused(tmp_path):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("../../evil.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(InputError, match="unsafe"):
        stage(path, tmp_path / "node" / "deep")
    assert not list(tmp_path.rglob("evil.txt"))


def test_other_ranks_wait_for_the_first(images, tmp_path):
    found = []
    waiting = threading.Thread(target=lambda: found.append(stage(images, tmp_path / "node", timeout=60, local_rank=1)))
    waiting.start()
    copy = stage(images, tmp_path / "node", local_rank=0)
    waiting.join()
    assert found == [copy]


def test_waiting_in_vain_ends_with_an_error(images, tmp_path):
    with pytest.raises(InputError, match=r"within 0\.1 s.*data\.stage_timeout"):
        stage(images, tmp_path / "node", timeout=0.1, local_rank=1)


def test_what_cannot_be_copied_is_named(images, tmp_path):
    with pytest.raises(InputError, match="gone"):
        stage(tmp_path / "gone", tmp_path / "node")
    (tmp_path / "file.zip").touch()
    with pytest.raises(InputError, match=r"file\.zip.*archive"):
        stage(tmp_path / "file.zip", tmp_path / "node")
    (tmp_path / "blocked").touch()
    with pytest.raises(InputError, match="blocked"):
        stage(images, tmp_path / "blocked" / "node")
