"""Training as SLURM jobs through submitit: one job object for the cluster and for a try-out on this machine."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from paws.config.schema import Config
from paws.errors import InputError


@dataclass(frozen=True)
class Resources:
    """What a job asks the cluster for; the names are those of sbatch. ``time`` in minutes, ``mem`` per node, e.g. 450G."""

    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int | None = None  # one per GPU when absent
    cpus_per_task: int | None = None
    mem: str | None = None
    time: int = 60
    partition: str | None = None
    constraint: str | None = None
    account: str | None = None
    qos: str | None = None
    signal_delay: int = 90  # seconds before the end of the time at which the job is told to save
    timeouts: int = 100  # how often a job whose time is up goes on in a new one
    parallel: int = 256  # how many jobs of a batch run at once
    other: dict[str, str] = field(default_factory=dict)  # any other option of sbatch

    @property
    def ranks_per_node(self) -> int:
        """Processes on each node."""
        return self.tasks_per_node or max(1, self.gpus_per_node)

    @property
    def world_size(self) -> int:
        """Processes of the job."""
        return self.nodes * self.ranks_per_node


@dataclass(frozen=True)
class TrainJob:
    """A picklable training run. Preempted, out of time or re-queued by hand, it goes on from the last checkpoint."""

    config: Config
    resume: bool = False
    overwrite: bool = False

    def __call__(self) -> dict[str, Any]:
        """Train on this task's rank; the result of the run, or where it stopped when the job went back to the queue."""
        from paws.runs.signals import Interrupted
        from paws.train import train

        _describe_place()
        again = int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0
        try:
            return train(self.config, resume=self.resume or again, overwrite=self.overwrite and not again)
        except Interrupted as stop:
            if not _goes_on(stop.signal_number):
                raise
            if os.environ["RANK"] == "0":
                signal.raise_signal(_submitit_signal())  # submitit's handler calls `checkpoint`, re-queues and exits
            return {"requeued_at_step": stop.step}

    def checkpoint(self) -> Any:
        """What submitit stores for the next start of this job: the state itself is in the run folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self, resume=True, overwrite=False))


def _describe_place() -> None:
    """Say to `paws.distributed.process_group` where this task stands, in torchrun's words, as submitit sees it."""
    import submitit

    from paws.distributed.process_group import place

    if "SLURM_STEP_NUM_TASKS" in os.environ and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
        where = place()
        address, port = where.address, where.port
        rank, world_size, local_rank = where.rank, where.world_size, where.local_rank
    else:
        task = submitit.JobEnvironment()
        rank, world_size, local_rank = task.global_rank, task.num_tasks, task.local_rank
        address, port = "127.0.0.1", 20_000 + int(task.job_id) % 12_000
    values = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": local_rank, "MASTER_ADDR": address, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in values.items()})


def _submitit_signal() -> signal.Signals:
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]


def _goes_on(number: int) -> bool:
    """Whether a job stopped by this signal goes back to the queue: not when somebody cancelled it."""
    if number in (signal.SIGUSR1, signal.SIGUSR2):
        return True
    job = os.environ.get("SLURM_JOB_ID")
    if number != signal.SIGTERM or job is None or os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return False
    # Preemption without a user signal: SLURM still counts the job as running, a cancelled one as cancelled.
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, check=False)
    return "JobState=RUNNING" in shown.stdout


def read_list(path: Path) -> list[Path]:
    """The config files named in a list file: one a line, relative to it; ``- `` before a name and ``#`` lines are allowed."""
    if not path.is_file():
        raise InputError(f"{path}: no such list of config files")
    lines = [line.strip().removeprefix("- ").strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise InputError(f"{path}: names no config file; write one a line")
    return [path.parent / name for name in names]


def jobs_of(configs: Sequence[Config], *, resume: bool = False, overwrite: bool = False) -> list[TrainJob]:
    """One job for each config, after checking that no two write into one folder and none into another run's."""
    from paws.runs.folder import check_run_folder

    folders = [config.run_dir.resolve() for config in configs]
    for config, folder in zip(configs, folders, strict=True):
        if folders.count(folder) > 1:
            raise InputError(f"run_dir {config.run_dir} is named by {folders.count(folder)} of the configs; give each its own")
        check_run_folder(config.run_dir, resume=resume, overwrite=overwrite)
    return [TrainJob(config, resume, overwrite) for config in configs]


def submit(jobs: Sequence[TrainJob], resources: Resources, logs: Path, *, local: bool = False) -> list[Any]:
    """Submit jobs - several as one array - and return submitit's job objects; ``local`` starts them here instead.

    Raises:
        InputError: submitit or SLURM is missing, or SLURM refuses the request.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError("paws launch needs submitit: pip install 'paws-ssl[slurm]'") from error
    try:
        cluster = "local" if local else "slurm"
        executor = submitit.AutoExecutor(
            logs / "%j", cluster=cluster, slurm_max_num_timeout=resources.timeouts, slurm_python=_python()
        )
        executor.update_parameters(**_parameters(resources, local))
        if local:  # one after the other: they share this machine
            return [_finished(executor.submit(job)) for job in jobs]
        with executor.batch():
            submitted = [executor.submit(job) for job in jobs]
    except (RuntimeError, ValueError, subprocess.CalledProcessError) as error:
        raise InputError(f"the job was not submitted: {error}") from error
    return submitted


def _python() -> str:
    """The command that starts Python in a job: until submitit can handle its signal, that does not kill the job."""
    name = _submitit_signal().name.removeprefix("SIG")
    return shlex.join(["sh", "-c", f'trap \'\' {name}; exec "$0" "$@"', sys.executable])


def _finished(job: Any) -> Any:
    try:
        job.wait()
    except BaseException:
        job.cancel()
        raise
    return job


def _parameters(resources: Resources, local: bool) -> dict[str, Any]:
    shared = {
        "name": "paws",
        "timeout_min": resources.time,
        "nodes": resources.nodes,
        "tasks_per_node": resources.ranks_per_node,
        "gpus_per_node": resources.gpus_per_node,
        "stderr_to_stdout": True,
    }
    if local:
        return {**shared, "nodes": 1, "tasks_per_node": resources.world_size}
    names = ("partition", "constraint", "account", "qos", "mem")
    chosen = {f"slurm_{name}": value for name, value in asdict(resources).items() if name in names and value}
    if resources.gpus_per_node == 0:
        del shared["gpus_per_node"]
    if resources.cpus_per_task:
        # srun no longer takes this from the batch job by itself
        chosen["cpus_per_task"] = resources.cpus_per_task
        chosen["slurm_srun_args"] = [f"--cpus-per-task={resources.cpus_per_task}"]
    if resources.other:
        chosen["slurm_additional_parameters"] = dict(resources.other)
    chosen["slurm_signal_delay_s"] = resources.signal_delay
    chosen["slurm_array_parallelism"] = resources.parallel
    return {**shared, **chosen}
