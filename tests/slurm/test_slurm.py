"""`paws launch` on a real SLURM: every way in which it ends a job leaves the same weights as if nothing had happened."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.runs import CARD, assert_same_run, finish, paws, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

RANKS = ["optim.steps_per_epoch=150", "checkpoint.every_steps=20"]  # some seconds of two ranks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "card.yaml").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> Path:
    finish(paws("train", "card.yaml", *RANKS, "run_dir=uninterrupted", "--devices", "2", cwd=folder))
    return folder / "uninterrupted"


def launch(folder: Path, *arguments: str) -> str:
    out, _ = finish(paws("launch", *arguments, cwd=folder))
    found = re.search(r"^job (\d+)", out, re.M)
    assert found, out
    assert str(folder / "runs" / "slurm" / found[1]) in out  # where the logs are
    return found[1]


def show(job: str) -> dict[str, str]:
    text = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, check=True).stdout
    return dict(pair.split("=", 1) for pair in text.split() if "=" in pair)


def completed(job: str, folder: Path, *, restarts: int | None = None) -> None:
    def over() -> dict[str, str] | None:
        shown = show(job)
        return shown if shown["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL") else None

    shown = wait_until(over, f"the end of job {job}", seconds=240)
    logs = "\n".join(path.read_text() for path in (folder / "runs" / "slurm" / job).glob("*.out"))
    assert shown["JobState"] == "COMPLETED", logs
    if restarts is not None:
        assert int(shown["Restarts"]) == restarts, logs


def checkpoint_of(run: Path) -> None:
    wait_until(lambda: list(run.glob("checkpoints/step-*.pt")), f"a checkpoint of {run.name}")


@pytest.mark.parametrize("shape", [("--nodes", "1", "--tasks-per-node", "2"), ("--nodes", "2", "--tasks-per-node", "1")])
def test_one_and_two_nodes(folder: Path, uninterrupted: Path, shape: tuple[str, ...]):
    name = f"nodes{shape[1]}"
    job = launch(folder, "card.yaml", *RANKS, f"run_dir={name}", *shape, "--partition", "main", "--cpus-per-task", "1")
    completed(job, folder, restarts=0)
    assert int(show(job)["NumNodes"]) == int(shape[1])
    assert_same_run(folder / name, uninterrupted)


def test_a_signal_puts_the_job_back_and_it_goes_on(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=usr2", "--tasks-per-node", "2")
    checkpoint_of(folder / "usr2")
    subprocess.run(["scancel", "--signal", "USR2", job], check=True)
    completed(job, folder, restarts=1)
    assert_same_run(folder / "usr2", uninterrupted)


def test_requeued_by_hand(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=requeue", "--nodes", "2")
    checkpoint_of(folder / "requeue")
    subprocess.run(["scontrol", "requeue", job], check=True)
    completed(job, folder, restarts=1)
    assert_same_run(folder / "requeue", uninterrupted)


def test_preempted_by_a_higher_partition(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=preempted", "--nodes", "2", "--partition", "main")
    checkpoint_of(folder / "preempted")
    urgent = ["sbatch", "--parsable", "-p", "urgent", "-N", "2", "--exclusive", "-o", "/dev/null", "--wrap", "true"]
    subprocess.run(urgent, check=True, capture_output=True)
    completed(job, folder, restarts=1)
    assert_same_run(folder / "preempted", uninterrupted)


def test_out_of_time(folder: Path, uninterrupted: Path):
    last = json.loads((uninterrupted / "metrics.jsonl").read_text().splitlines()[-1])
    a_minute = int(60 * last["images_per_second"] / 32)  # steps
    long = [f"optim.steps_per_epoch={a_minute // 2}", "checkpoint.every_steps=100"]
    finish(paws("train", "card.yaml", *long, "run_dir=long", "--devices", "2", cwd=folder))
    # told to stop 25 s before its one minute is over
    job = launch(folder, "card.yaml", *long, "run_dir=time", "--nodes", "2", "--time", "1", "--signal-delay", "25")
    completed(job, folder)
    assert int(show(job)["Restarts"]) >= 1
    assert_same_run(folder / "time", folder / "long")


def test_cancelled_is_cancelled(folder: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=cancelled", "--tasks-per-node", "2")
    checkpoint_of(folder / "cancelled")
    subprocess.run(["scancel", job], check=True)
    shown = wait_until(lambda: s if (s := show(job))["JobState"] == "CANCELLED" else None, "the cancelled job's end")
    assert int(shown["Restarts"]) == 0


def test_a_batch_of_configs(folder: Path):
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(CARD.replace("run_dir: run", f"run_dir: batch-{name}"))
    (folder / "list.txt").write_text("# two runs\na.yaml\nb.yaml\n")
    out, _ = finish(paws("launch", "--list", "list.txt", cwd=folder))
    jobs = re.findall(r"^job (\d+_\d): batch-(\w)", out, re.M)
    assert [name for _, name in jobs] == ["a", "b"], out
    for job, _ in jobs:
        completed(job, folder)
    assert_same_run(folder / "batch-a", folder / "batch-b")


def test_what_slurm_refuses_is_said(folder: Path):
    _, err = finish(paws("launch", "card.yaml", "run_dir=refused", "--partition", "nowhere", cwd=folder), code=2)
    assert "invalid partition specified: nowhere" in err
    assert not (folder / "refused").exists()
