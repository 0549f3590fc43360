"""What goes wrong during a run is named, ends it in bounded time, and loses nothing: afterwards it resumes to the same end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image

from paws.config.cards import from_mapping
from paws.config.schema import Config
from paws.errors import InputError
from paws.runs.checkpoint import load_latest
from paws.runs.running_means import Diverged
from paws.train import train
from tests.digits_runs import CARD, Started, assert_same_run, finish, paws, paws_on_ranks, wait_until
from tests.ranks import environment


def config(run: Path, **sections: dict) -> Config:
    values = {
        "seed": 3,
        "run_dir": str(run),
        "data": {"labels": {"per_class": 4}},
        "support": {"images_per_class": 2},
        "model": {"output_dim": 8},
        "optim": {"name": "adamw", "lr": 1e-3, "epochs": 2, "steps_per_epoch": 10, "batch_size": 16},
        "checkpoint": {"every_steps": 4},
        "log": {"every_steps": 5},
    }
    return from_mapping({**values, **sections})


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("peaceful") / "run"
    train(config(run), quiet=True)
    return run


# --- the disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, to fill and to make read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_stops_the_run_and_space_lets_it_go_on(disk: Path, peaceful: Path):
    run = disk / "run"
    with pytest.raises(InputError, match=r"step-\d+.pt: cannot be written \(No space left on device\)"):
        train(config(run, checkpoint={"every_steps": 4, "keep": 9, "keep_epochs": []}, optim=_long()), quiet=True)
    state = load_latest(run / "checkpoints")
    assert state is not None
    assert state["step"] > 0
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    train(config(run, optim=_long()), resume=True, quiet=True)
    train(config(disk / "whole", optim=_long()), quiet=True)
    assert_same_run(run, disk / "whole")


def _long() -> dict:
    return {"name": "adamw", "lr": 1e-3, "epochs": 2, "steps_per_epoch": 20, "batch_size": 16}


def test_a_read_only_run_folder_is_named(disk: Path):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(InputError, match="run: the run folder cannot be written: Read-only file system"):
        train(config(disk / "run"), quiet=True)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_last_checkpoint_costs_some_steps_and_nothing_else(damage: str, tmp_path: Path, peaceful: Path):
    run = tmp_path / "run"
    train(config(run), quiet=True)
    last = sorted((run / "checkpoints").glob("step-*.pt"))[-1]
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data[:1000] if damage == "truncated" else data)
    with pytest.warns(RuntimeWarning, match=f"{last.name}: .*going on from step-00000016.pt"):
        train(config(run), resume=True, quiet=True)
    assert_same_run(run, peaceful)


# --- other processes -------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_named_and_nothing_is_written(tmp_path: Path):
    (tmp_path / "card.yaml").write_text(CARD)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        _, err = finish(paws("train", "card.yaml", cwd=tmp_path, **environment(0, 2, port)), code=2)
    assert f"port {port} is in use by another program; set MASTER_PORT to a free one" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_two_launches_into_one_folder(tmp_path: Path):
    (tmp_path / "card.yaml").write_text(CARD)
    long = ["optim.steps_per_epoch=100"]
    first = paws("train", "card.yaml", *long, cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("run/checkpoints/step-*.pt")), "the first run's checkpoint")
    for flag in ("--resume", "--overwrite"):
        os.kill(first.pid, signal.SIGSTOP)  # it may not end before the second one asks
        _, err = finish(paws("train", "card.yaml", *long, flag, cwd=tmp_path), code=2)
        os.kill(first.pid, signal.SIGCONT)
        assert f"process {first.pid} on {socket.gethostname()} runs in this folder" in err
    finish(first)
    finish(paws("train", "card.yaml", *long, "run_dir=whole", cwd=tmp_path))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


RANKS = ["train", "card.yaml", "optim.steps_per_epoch=60"]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-ranks")
    (folder / "card.yaml").write_text(CARD)
    for rank in paws_on_ranks(2, *RANKS, cwd=folder):
        finish(rank)
    return folder


def test_devices_starts_the_same_ranks_as_a_launcher(two_ranks: Path):
    finish(paws(*RANKS, "run_dir=devices", "--devices", "2", cwd=two_ranks))
    assert_same_run(two_ranks / "devices", two_ranks / "run")


def test_what_is_wrong_with_the_data_ends_devices_as_it_ends_one_process(tmp_path: Path):
    (tmp_path / "card.yaml").write_text(CARD)
    told = finish(paws(*RANKS, "data.labels.per_class=10000", "--devices", "2", cwd=tmp_path), code=2)[1]
    assert "10000" in told and "Traceback" not in told and "elastic" not in told
    assert told.count("error:") == 1


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_stops_the_others_and_is_named(victim: int, tmp_path: Path, two_ranks: Path):
    (tmp_path / "card.yaml").write_text(CARD)
    ranks = paws_on_ranks(2, *RANKS, cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("run/checkpoints/step-*.pt")), "a checkpoint")
    os.kill(ranks[victim].pid, signal.SIGKILL)
    _, err = finish(ranks[1 - victim], code=1)
    assert re.search(rf"rank {1 - victim} of 2 at 127.0.0.1:\d+ stops: rank {victim} was killed or hangs", err), err
    for rank in paws_on_ranks(2, *RANKS, "--resume", cwd=tmp_path):
        finish(rank)
    assert_same_run(tmp_path / "run", two_ranks / "run")


@pytest.mark.parametrize("moment", ["at the very start", "when the run folder is there"])
def test_sigterm_during_start_up_leaves_a_run_that_starts(moment: str, tmp_path: Path):
    (tmp_path / "card.yaml").write_text(CARD)
    finish(paws("train", "card.yaml", "run_dir=whole", cwd=tmp_path))
    process = paws("train", "card.yaml", cwd=tmp_path)
    sign = process.written / "err" if moment == "at the very start" else tmp_path / "run"
    wait_until(sign.exists, "the new process")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() in (-signal.SIGTERM, 128 + signal.SIGTERM)  # at once, or with its state saved
    finish(paws("train", "card.yaml", "--resume", cwd=tmp_path))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


# --- data files and their loaders ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    draws = torch.Generator().manual_seed(0)
    for name, count in (("train", 12), ("val", 4)):
        for c in range(3):
            folder = root / name / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = torch.randint(60 * c, 60 * c + 120, (24, 24, 3), generator=draws, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    return root


def files_config(run: Path, root: Path, workers: int, steps: int = 6) -> Config:
    return config(
        run,
        data={"dataset": "folder", "root": str(root), "labels": {"per_class": 4}, "workers": workers},
        views={"preset": "imagenet", "size": 16, "small": 1, "small_size": 8},
        optim={"name": "adamw", "lr": 1e-3, "epochs": 2, "steps_per_epoch": steps, "batch_size": 4},
        checkpoint={"every_steps": 2},
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_the_number_of_loader_workers_changes_nothing(images: Path, tmp_path: Path):
    for workers in (0, 1, 3):
        train(files_config(tmp_path / str(workers), images, workers), quiet=True)
    for workers in (1, 3):
        assert_same_run(tmp_path / str(workers), tmp_path / "0")


def start_on_files(run: Path, root: Path, folder: Path) -> tuple[list[str], Started]:
    (folder / "files.yaml").write_text(files_config(run, root, 1, steps=150).to_yaml())
    arguments = ["train", "files.yaml"]
    process = paws(*arguments, cwd=folder)
    wait_until(lambda: list(run.glob("checkpoints/step-*.pt")), "a checkpoint")
    return arguments, process


def test_a_killed_loader_worker_is_told_and_the_run_goes_on_later(images: Path, tmp_path: Path):
    arguments, process = start_on_files(tmp_path / "run", images, tmp_path)
    workers = [child for child in psutil.Process(process.pid).children() if "resource_tracker" not in child.cmdline()[-1]]
    workers[0].kill()
    _, err = finish(process, code=1)
    assert "a loader worker was killed: DataLoader worker" in err
    assert "go on with --resume" in err
    finish(paws(*arguments, "--resume", cwd=tmp_path))
    finish(paws(*arguments, "run_dir=whole", cwd=tmp_path))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_file_deleted_during_the_run_is_named_and_can_be_put_back(images: Path, tmp_path: Path):
    arguments, process = start_on_files(tmp_path / "run", images, tmp_path)
    gone = images / "train" / "class1" / "7.png"
    pixels = gone.read_bytes()
    gone.unlink()
    try:
        _, err = finish(process, code=2)
    finally:
        gone.write_bytes(pixels)
    assert str(gone) in err
    finish(paws(*arguments, "--resume", cwd=tmp_path))
    finish(paws(*arguments, "run_dir=whole", cwd=tmp_path))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_step_and_last_good_checkpoint(tmp_path: Path):
    run = tmp_path / "run"
    steps = {"name": "sgd", "epochs": 4, "steps_per_epoch": 10, "batch_size": 16}
    train(config(run, optim={**steps, "lr": 1e-3, "epochs": 2}), quiet=True)
    broken = config(run, optim={**steps, "lr": 1e30})
    with pytest.raises(Diverged, match=r"before step \d+ .*the last good checkpoint is .*step-00000020\.pt"):
        train(broken, resume=True, resume_with_changes=True, quiet=True)
    state = load_latest(run / "checkpoints")
    assert state is not None
    assert state["step"] == 20
    assert all(torch.isfinite(value).all() for value in state["model"].values())
