"""Atomic files: whole or not at all, through no link, over nothing that is not a plain file, and nothing left by the dead."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from paws.errors import InputError
from paws.runs.files import link, new_folder, write_bytes, write_text, writing
from paws.runs.temporary import remove, sweep, temporary_name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    write_text(path, "neu: ü")
    write_bytes(tmp_path / "b", b"")
    assert path.read_text(encoding="utf-8") == "neu: ü"
    assert names(tmp_path) == ["a.txt", "b"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ends_the_block_leaves_the_former_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    with pytest.raises(error), writing(path, text=True) as file:
        file.write("half")
        raise error
    with pytest.raises(error), new_folder(tmp_path / "folder") as folder:
        (folder / "x").write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_new_files_replace_none_that_came_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(InputError, match="a: exists already"), writing(path, new=True) as file:
        file.write(b"mine")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    with pytest.raises(InputError, match="a: exists already"):
        write_text(path, "mine", new=True)
    with pytest.raises(InputError, match="exists already"), new_folder(tmp_path):
        pass
    assert names(tmp_path) == ["a"]


def make_link(path: Path) -> None:
    (path.parent / "aim").write_text("precious")
    path.symlink_to(path.parent / "aim")


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").write_text("precious")


@pytest.mark.parametrize(
    ("make", "said"), [(make_link, "is a link"), (make_folder, "is a folder"), (os.mkfifo, "is no plain file")]
)
def test_nothing_but_a_plain_file_is_replaced(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "name"
    make(path)
    before = names(tmp_path)
    with pytest.raises(InputError, match=f"name {said}; give the name of a file"):
        write_text(path, "x")
    assert names(tmp_path) == before
    assert all(p.read_text() == "precious" for p in tmp_path.rglob("*") if p.is_file())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x: cannot be written \(there is no folder .*nowhere"):
        write_text(tmp_path / "nowhere" / "x", "")


def test_a_file_that_cannot_be_read_meanwhile_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), writing(tmp_path / "a"):
        open(tmp_path / "elsewhere")  # noqa: SIM115


def test_links_are_made_anew_and_removed_without_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "aim").mkdir()
    link(tmp_path / "last", "nowhere")
    link(tmp_path / "last", "aim")
    assert os.readlink(tmp_path / "last") == "aim"
    remove(tmp_path / "last")
    remove(tmp_path / "last")
    assert names(tmp_path) == ["aim"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with new_folder(tmp_path / "deep" / "folder", replace=True) as folder:
            write_text(folder / content, content)
    assert names(tmp_path / "deep") == ["folder"]
    assert names(tmp_path / "deep" / "folder") == ["new"]


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may become larger than 4 KiB: what the system answers is handled as a full disk is."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, former[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, former)


def save_tensor(path: Path) -> None:
    with writing(path) as file:
        torch.save(torch.ones(5000), file)  # raises a RuntimeError of its own


@pytest.mark.parametrize("write", [lambda path: write_bytes(path, b"x" * 5000), save_tensor])
@pytest.mark.usefixtures("little_room")
def test_a_full_disk_is_named_and_the_former_file_stays(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    with pytest.raises(InputError, match=r"a: cannot be written \(File too large\): free some space"):
        write(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.usefixtures("little_room")
def test_a_file_that_does_not_fit_is_named_as_it_was_to_be(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=f"^{tmp_path}/run/bundle/a: cannot be written"),
        new_folder(tmp_path / "run") as run,
        new_folder(run / "bundle") as bundle,
    ):
        write_bytes(bundle / "a", b"x" * 5000)
    assert names(tmp_path) == []


# --- what killed processes leave -------------------------------------------------------------------------------------

WRITER = """
import os, sys, signal
from pathlib import Path
from paws.runs.files import new_folder, writing
folder = Path(sys.argv[1])
with writing(folder / "table") as file, new_folder(folder / "bundle") as new:
    (new / "x").write_text("half")
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_at_the_next_call_and_nothing_else(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", WRITER, tmp_path]).returncode == -signal.SIGKILL
    left = names(tmp_path)
    assert len(left) == 2
    ours, other_machine, strange = temporary_name(), f".paws-00000000-1-1-{'0' * 16}.tmp", ".paws-mine.tmp"
    for name in (ours, other_machine, strange):
        (tmp_path / name).write_text("")
    assert names(tmp_path) != sorted([ours, other_machine, strange])
    write_text(tmp_path / "table", "whole")
    assert names(tmp_path) == sorted([ours, other_machine, strange, "table"])


REPLACER = """
import os, sys
from pathlib import Path
from paws.runs.files import new_folder
number, rename = iter(range(int(sys.argv[2]))), os.rename
os.rename = lambda *paths: os._exit(9) if next(number, None) is None else rename(*paths)
with new_folder(Path(sys.argv[1]) / "bundle", replace=True) as new:
    (new / "x").write_text("new")
"""


@pytest.mark.parametrize(("renamed", "there", "after"), [(0, "old", "old"), (1, None, "old"), (2, "new", "new")])
def test_a_folder_whose_replacement_was_killed_has_its_name_again(
    renamed: int, there: str | None, after: str, tmp_path: Path
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "x").write_text("old")
    ended = subprocess.run([sys.executable, "-c", REPLACER, tmp_path, str(renamed)]).returncode
    assert ended == (0 if renamed == 2 else 9)
    assert (there is None) == (not (tmp_path / "bundle").exists())
    write_text(tmp_path / "other", "of the next call")
    assert (tmp_path / "bundle" / "x").read_text() == after
    assert names(tmp_path) == ["bundle", "other"]


def test_what_another_machine_left_goes_after_a_week(tmp_path: Path) -> None:
    old = tmp_path / f".paws-00000000-1-1-{'0' * 16}.tmp"
    old.write_text("")
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert names(tmp_path) == []
