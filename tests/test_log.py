"""A run folder says that it holds a run for as long as anything of one is in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from paws.errors import InputError
from paws.log import OWN, check_run_folder, clear_run, holds_run


class Killed(BaseException):
    pass


def fill(folder: Path) -> None:
    for name in OWN:
        if "." in name:
            (folder / name).write_text("old")
        else:
            (folder / name).mkdir()
            (folder / name / "step-00000001.pt").write_text("old")
    (folder / "notes.txt").write_text("mine")


@pytest.mark.parametrize("removals", range(len(OWN)))
def test_a_kill_while_a_run_is_removed_never_leaves_a_folder_that_looks_fresh(
    removals: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(tmp_path)
    left = iter([True] * removals)
    unlink, rmtree = Path.unlink, shutil.rmtree

    def unlink_or_die(path: Path, missing_ok: bool = False) -> None:
        next(left, None) or die()
        unlink(path, missing_ok)

    def rmtree_or_die(path: Path) -> None:
        next(left, None) or die()
        rmtree(path)

    def die() -> None:
        raise Killed

    monkeypatch.setattr(Path, "unlink", unlink_or_die)
    monkeypatch.setattr(shutil, "rmtree", rmtree_or_die)
    with pytest.raises(Killed):
        clear_run(tmp_path)
    monkeypatch.undo()
    assert holds_run(tmp_path)
    with pytest.raises(InputError, match="already holds a run"):
        check_run_folder(tmp_path, resume=False, overwrite=False)
    clear_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert not holds_run(tmp_path)


def test_checkpoints_without_a_config_are_a_run(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    assert not holds_run(tmp_path)
    (tmp_path / "checkpoints" / "step-00000001.pt").touch()
    assert holds_run(tmp_path)
