"""`paws launch` on a real SLURM: every way in which it ends a job leaves the same weights as if nothing had happened.

An interrupted run must not end before the interruption reaches it, on a fast machine and on a busy one. So its ranks are
held (SIGSTOP) until the signal is on their doorstep, and no test depends on how long anything takes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.digits_runs import CARD, assert_same_run, finish, paws, paws_on_ranks, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

REPOSITORY = Path(__file__).parents[2]
RANKS = ["optim.steps_per_epoch=100", "checkpoint.every_steps=10"]  # some seconds of two ranks
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


def until(condition: Callable[[], Any], what: str) -> Any:
    return wait_until(condition, what, every=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "card.yaml").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> Path:
    for rank in paws_on_ranks(2, "train", "card.yaml", *RANKS, "run_dir=uninterrupted", cwd=folder):
        finish(rank)
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
    shown = until(lambda: found if (found := show(job))["JobState"] in ENDS else None, f"the end of job {job}")
    logs = "\n".join(path.read_text() for path in (folder / "runs" / "slurm" / job).glob("*.out"))
    assert shown["JobState"] == "COMPLETED", f"{shown}\n{logs}"
    if restarts is not None:
        assert int(shown["Restarts"]) == restarts, logs


def ranks_of(job: str) -> list[psutil.Process]:
    """The processes on this machine that train in a job."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "submitit.core._submit" in (process.info["cmdline"] or []) and process.name().startswith("python"):
            try:
                of_job = process.environ().get("SLURM_JOB_ID") == job
            except psutil.Error:
                continue
            if of_job:
                found.append(process)
    return found


def reached(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a signal waits for a stopped process, or has already been served because SLURM made the process go on."""
    try:
        if process.status() != psutil.STATUS_STOPPED:
            return True
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True
    masks = re.findall(r"^(?:ShdPnd|SigPnd):\s*([0-9a-f]+)", status, re.M)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@contextmanager
def held(job: str, run: Path, until_signal: signal.Signals | None = None) -> Iterator[None]:
    """Stop both ranks of a job after its first checkpoint; they go on when the body has ended and the signal is there."""
    wait_until(lambda: list(run.glob("checkpoints/step-*.pt")), f"a checkpoint of {run.name}")
    ranks = ranks_of(job)
    assert len(ranks) == 2
    for rank in ranks:
        rank.suspend()
    try:
        yield
        if until_signal is not None:
            for rank in ranks:
                until(lambda rank=rank: reached(rank, until_signal), f"{until_signal.name} at rank process {rank.pid}")
    finally:
        for rank in ranks:
            try:
                rank.resume()
            except psutil.NoSuchProcess:
                continue


@pytest.mark.parametrize("shape", [("--nodes", "1", "--tasks-per-node", "2"), ("--nodes", "2", "--tasks-per-node", "1")])
def test_one_and_two_nodes(folder: Path, uninterrupted: Path, shape: tuple[str, ...]):
    name = f"nodes{shape[1]}"
    job = launch(folder, "card.yaml", *RANKS, f"run_dir={name}", *shape, "--partition", "main", "--cpus-per-task", "1")
    completed(job, folder, restarts=0)
    assert int(show(job)["NumNodes"]) == int(shape[1])
    assert_same_run(folder / name, uninterrupted)


def test_a_signal_puts_the_job_back_and_it_goes_on(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=usr2", "--tasks-per-node", "2")
    with held(job, folder / "usr2", signal.SIGUSR2):
        subprocess.run(["scancel", "--signal", "USR2", job], check=True)
    completed(job, folder, restarts=1)
    assert_same_run(folder / "usr2", uninterrupted)


def test_requeued_by_hand(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=requeue", "--nodes", "2")
    with held(job, folder / "requeue"):
        subprocess.run(["scontrol", "requeue", job], check=True)
    completed(job, folder, restarts=1)
    assert_same_run(folder / "requeue", uninterrupted)


def test_preempted_by_a_higher_partition(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=preempted", "--nodes", "2", "--partition", "main")
    urgent = ["sbatch", "--parsable", "-p", "urgent", "-N", "2", "--exclusive", "-o", "/dev/null", "--wrap", "true"]
    with held(job, folder / "preempted", signal.SIGUSR2):
        subprocess.run(urgent, check=True, capture_output=True)
    completed(job, folder, restarts=1)
    assert_same_run(folder / "preempted", uninterrupted)


def test_out_of_time(folder: Path, uninterrupted: Path):
    job = launch(
        folder, "card.yaml", *RANKS, "run_dir=time", "--nodes", "2", "--time", "30", "--signal-delay", "60", "--timeouts", "1"
    )
    with held(job, folder / "time", signal.SIGUSR2):
        hours, minutes, _ = show(job)["RunTime"].split(":")
        # SLURM counts limits in whole minutes and looks every half: less than two are left now
        limit = 60 * int(hours) + int(minutes) + 2
        subprocess.run(["scontrol", "update", f"JobId={job}", f"TimeLimit={limit}"], check=True)
    until(lambda: int(show(job)["Restarts"]) == 1, "the job's return to the queue")
    subprocess.run(["scontrol", "update", f"JobId={job}", "TimeLimit=30"], check=True)
    completed(job, folder, restarts=1)
    assert_same_run(folder / "time", uninterrupted)


def test_a_signal_during_start_up_loses_no_job(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=early", "--tasks-per-node", "2")
    until(lambda: len(ranks_of(job)) == 2, "the ranks of the job")
    subprocess.run(["scancel", "--signal", "USR2", job], check=True)
    completed(job, folder)
    assert_same_run(folder / "early", uninterrupted)


def test_cancelled_is_cancelled_and_can_be_resumed(folder: Path, uninterrupted: Path):
    job = launch(folder, "card.yaml", *RANKS, "run_dir=cancelled", "--tasks-per-node", "2")
    with held(job, folder / "cancelled"):
        subprocess.run(["scancel", job], check=True)
    shown = until(lambda: s if (s := show(job))["JobState"] in ENDS else None, "the cancelled job's end")
    assert shown["JobState"] == "CANCELLED"
    assert int(shown["Restarts"]) == 0
    until(lambda: not ranks_of(job), "the end of its processes")
    for rank in paws_on_ranks(2, "train", "card.yaml", *RANKS, "run_dir=cancelled", "--resume", cwd=folder):
        finish(rank)
    assert_same_run(folder / "cancelled", uninterrupted)


def test_the_commands_of_the_page_as_written(tmp_path: Path):
    page = (REPOSITORY / "docs" / "cluster.md").read_text()
    commands = re.search(r"<!-- run as written -->\s*```\n(.*?)```", page, re.S)
    assert commands is not None
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    shell = ["bash", "-e", "-o", "pipefail", "-c", commands[1]]
    done = subprocess.run(shell, cwd=tmp_path, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = dict(re.findall(r"^job (\S+): (\S+),", done.stdout, re.M))
    runs = list(jobs.values())
    assert runs == ["runs/tryout", "runs/two-nodes", "runs/seed-1", "runs/seed-2"], done.stdout
    for job in list(jobs)[1:]:  # the first ran here
        completed(job, tmp_path)
    for run in runs:
        assert (tmp_path / run / "checkpoints" / "last.pt").exists()
    # two processes here and two nodes there: the same weights
    assert_same_run(tmp_path / "runs/tryout", tmp_path / "runs/two-nodes")
    assert "8 x 8 ranks, batch 64 each, 4096 in all" in done.stdout


def test_what_slurm_refuses_is_said(folder: Path):
    _, err = finish(paws("launch", "card.yaml", "run_dir=refused", "--partition", "nowhere", cwd=folder), code=2)
    assert "invalid partition specified: nowhere" in err
    assert not (folder / "refused").exists()
