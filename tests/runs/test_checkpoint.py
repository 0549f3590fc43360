"""Checkpoints: whole or not at all, checked when read, the one before when the last is damaged."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_flatten

from paws.errors import InputError
from paws.runs.checkpoint import CheckpointFolder, load, load_latest, save
from paws.runs.lock import run_lock


def state(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    return {
        "model": {"weight": torch.randn(64, 64, generator=generator), "bias": torch.arange(3)},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "buffer": None}}, "param_groups": [{"lr": 0.1}]},
        "step": step,
        "config": {"name": "x", "list": [1, 2.5, None, True]},
    }


def assert_same(a: dict, b: dict) -> None:
    leaves_a, shape_a = tree_flatten(a)
    leaves_b, shape_b = tree_flatten(b)
    assert shape_a == shape_b
    for left, right in zip(leaves_a, leaves_b, strict=True):
        assert type(left) is type(right)
        assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


def test_what_is_saved_comes_back_and_torch_reads_it_too(tmp_path: Path):
    save(tmp_path / "a.pt", state(3))
    assert_same(load(tmp_path / "a.pt"), state(3))
    assert_same(torch.load(tmp_path / "a.pt", weights_only=True), state(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("position", [0.0, 0.3, 0.6, 0.9, 0.999])
def test_a_flipped_bit_anywhere_is_found(tmp_path: Path, position: float):
    path = tmp_path / "a.pt"
    save(path, state(1))
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.pt: the checksum does not match"):
        load(path)


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.999])
def test_a_truncated_file_is_found(tmp_path: Path, keep: float):
    path = tmp_path / "a.pt"
    save(path, state(1))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"a\.pt: no checksum at its end: the file is truncated"):
        load(path)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch evil",))


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.pt", {"model": Evil()})  # with a valid checksum
    with pytest.raises(InputError, match=r"a\.pt: refused, it holds code"):
        load(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"b\.pt: no checksum"):
        load(tmp_path / "b.pt")
    assert not (tmp_path / "evil").exists()


def test_other_things_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.pt: the checkpoint cannot be read: No such file"):
        load(tmp_path / "none.pt")
    save(tmp_path / "list.pt", [1])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"list\.pt: expected a checkpoint's dict of states, found list"):
        load(tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"checkpoint\.keep is 0"):
        CheckpointFolder(tmp_path, keep=0)


# --- the folder ------------------------------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_few_stay_and_the_kept_ones(tmp_path: Path):
    folder = CheckpointFolder(tmp_path / "new" / "checkpoints", keep=2)
    assert folder.load_latest() is None
    assert folder.latest_path() is None
    for step in (10, 20, 30, 40):
        folder.save(step, state(step), keep=step == 10)
    folder.save_best(state(20))
    assert names(folder.folder) == ["best.pt", "last.pt", "step-00000010-kept.pt", "step-00000030.pt", "step-00000040.pt"]
    assert folder.latest_path() == folder.folder / "step-00000040.pt"
    assert_same(load_latest(folder.folder) or {}, state(40))
    assert_same(load(folder.folder / "last.pt"), state(40))
    assert_same(folder.load_best(), state(20))


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path: Path):
    folder = CheckpointFolder(tmp_path, keep=2)
    folder.save(10, state(10))
    last = folder.save(20, state(20))
    damage(last)
    with pytest.warns(RuntimeWarning, match=r"step-00000020\.pt: the checksum does not match.*going on from step-00000010"):
        assert_same(folder.load_latest() or {}, state(10))
    # the run goes on from there: the damaged file may push out no good one
    folder.save(15, state(15))
    assert names(tmp_path) == ["last.pt", "step-00000010.pt", "step-00000015.pt"]


def test_when_all_are_damaged_nothing_starts_over_in_silence(tmp_path: Path):
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        damage(folder.save(step, state(step)))
    with pytest.raises(InputError, match=r"no checkpoint can be loaded:\n.*step-00000002.*\n.*step-00000001"):
        folder.load_latest()


# --- what the disk does ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_the_former_checkpoint(small_disk: Path):
    folder = CheckpointFolder(small_disk / "checkpoints")
    folder.save(1, state(1))
    big = {**state(2), "model": {"weight": torch.randn(300, 300)}}
    for attempt in (folder.save, lambda step, content: save(folder.folder / "step-00000001.pt", content)):
        with pytest.raises(InputError, match=r"step-0.*cannot be written \(No space left on device\): free some space"):
            attempt(2, big)
        assert names(folder.folder) == ["last.pt", "step-00000001.pt"]
        assert_same(folder.load_latest() or {}, state(1))


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A read-only mount: permissions alone do not stop root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    CheckpointFolder(disk / "run" / "checkpoints").save(1, state(1))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_read_only_folder_is_named(read_only_disk: Path):
    folder = CheckpointFolder(read_only_disk / "run" / "checkpoints")
    for write in (lambda: folder.save(2, state(2)), lambda: folder.save_best(state(2))):
        with pytest.raises(InputError, match=r"cannot be written \(Read-only file system\): make the folder writable"):
            write()
    with (
        pytest.raises(InputError, match="run: the run folder cannot be written: Read-only file system"),
        run_lock(read_only_disk / "run"),
    ):
        pass
    assert_same(folder.load_latest() or {}, state(1))


# --- kills -----------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
import torch
from paws.runs.checkpoint import CheckpointFolder
folder = CheckpointFolder(Path(sys.argv[1]), keep=2)
for step in range(1, 100000):
    folder.save(step, {"step": step, "weights": torch.full((200, 200), float(step))})
    print(step, flush=True)
"""


def test_a_kill_during_writes_loses_nothing_that_was_finished(tmp_path: Path):
    for finished in (1, 7, 20):
        folder = tmp_path / str(finished)
        process = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        while (line := process.stdout.readline()) and int(line) < finished:
            pass
        process.send_signal(signal.SIGKILL)
        said = [finished, *map(int, process.communicate(timeout=30)[0].split())]
        loaded = load_latest(folder)
        assert loaded is not None
        assert loaded["step"] >= max(said)
        assert torch.equal(loaded["weights"], torch.full((200, 200), float(loaded["step"])))


# --- one run per folder ----------------------------------------------------------------------------------------------

HOLDER = """
import os, sys
from pathlib import Path
from paws.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    if os.fork() == 0:  # as a loader worker: it must not keep the folder when its parent is killed
        sys.stdin.readline()
        os._exit(0)
    print("holding", flush=True)
    os.wait()
"""


def test_a_second_launch_into_a_run_folder_is_refused_until_the_first_ends(tmp_path: Path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "holding\n"
    with (
        pytest.raises(InputError, match=f"process {holder.pid} on .* runs in this folder; wait for it or give another"),
        run_lock(tmp_path),
    ):
        pass
    holder.kill()  # its forked child lives on
    holder.wait(timeout=30)
    with run_lock(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    holder.stdin.close()
    holder.stdout.close()
