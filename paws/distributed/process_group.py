"""How processes find each other: the launcher's variables, the process group, and who is to blame when it breaks.

Nothing here knows what the processes compute; `paws.distributed` has the collectives.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist

from paws.config.threads import cores
from paws.errors import InputError
from paws.seeds import seed_of


class LostRankError(RuntimeError):
    """Another rank ended or no longer answers; the message names it and repeats its last words where it left any."""


@dataclass(frozen=True)
class Place:
    """Where this process stands among the others, as its launcher said it."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    address: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world_size} at {self.address}:{self.port}"


def place() -> Place:
    """The place that torchrun (RANK, WORLD_SIZE, ...) or a SLURM step gave this process; one of one without either.

    Raises InputError where the launcher's variables are incomplete or contradict each other.
    """
    env = os.environ
    if "RANK" in env or "WORLD_SIZE" in env:
        found = Place(_int("RANK"), _int("WORLD_SIZE"), int(env.get("LOCAL_RANK", 0)))
        if found.world_size > 1:
            found = Place(found.rank, found.world_size, found.local_rank, _variable("MASTER_ADDR"), _int("MASTER_PORT"))
    # SLURM_NTASKS is also set in the batch script and in an interactive allocation, where nothing runs W times.
    elif "SLURM_STEP_NUM_TASKS" in env:
        address = env.get("MASTER_ADDR") or _first_node(_variable("SLURM_STEP_NODELIST"))
        port = int(env.get("MASTER_PORT") or _slurm_port())
        found = Place(_int("SLURM_PROCID"), _int("SLURM_STEP_NUM_TASKS"), _int("SLURM_LOCALID"), address, port)
    else:
        found = Place()
    if not 0 <= found.rank < found.world_size:
        raise InputError(f"rank {found.rank} is outside of 0..{found.world_size - 1} (WORLD_SIZE {found.world_size})")
    return found


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise InputError(f"environment variable {name} is missing: start with torchrun, paws launch or srun, which set it")
    return value


def _int(name: str) -> int:
    value = _variable(name)
    if not value.isdigit():
        raise InputError(f"environment variable {name} is {value!r}: it must be a whole number")
    return int(value)


def _first_node(nodes: str) -> str:
    command = ["scontrol", "show", "hostnames", nodes]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]


def _slurm_port() -> int:
    """Below the ephemeral range, another for each job step and each requeue of it."""
    key = [os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")]
    return 20_000 + seed_of(*key) % 12_000


@contextmanager
def init(device: str | torch.device = "cpu", *, timeout: float = 600.0) -> Iterator[torch.device]:
    """Join the process group that the launcher described, give this rank's device, and leave the group at the end.

    ``device`` is "cpu" (gloo) or "cuda" (NCCL; gloo for the few values that live on the CPU). ``timeout``: seconds to
    wait for the other ranks, when the group forms and in every collective. A single process forms no group.
    What holds the group - a model of DDP does - must be gone when the block ends: the group's threads end with it.

    Raises InputError naming address, port and rank when the group cannot form - never a silent single process - and
    LostRankError naming the rank when one ends or hangs later.
    """
    where = place()
    device = _own_device(torch.device(device), where)
    if where.world_size == 1:
        yield device
        return
    store = _join(where, device, timeout)
    try:
        yield device
        dist.all_reduce(torch.zeros(1))  # the store lives in rank 0: no rank may leave while another still works
    except BaseException as error:
        _say_goodbye(store, where, error, min(5.0, timeout))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        gc.collect()  # models of DDP in circles of references hold the group, whose threads end with it


def _own_device(device: torch.device, where: Place) -> torch.device:
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count()
    # SLURM may show each task its own GPU only; torchrun shows every process all of them.
    index = 0 if count == 1 and "SLURM_LOCALID" in os.environ else where.local_rank
    if index >= count:
        raise InputError(f"local rank {index} has no GPU: {count} are visible, and every process needs its own")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _join(where: Place, device: torch.device, timeout: float) -> dist.Store:
    # Its functions take the group of the moment of their import as a default. DDP imports it: the group would never be given
    # up, and a thread of gloo that gives a tensor of Python back while the interpreter ends aborts the process.
    import torch.distributed.nn.functional  # noqa: F401

    wait = timedelta(seconds=timeout)
    os.environ.update(MASTER_ADDR=where.address, MASTER_PORT=str(where.port))
    try:
        url = f"env://?rank={where.rank}&world_size={where.world_size}"
        store, _, _ = next(dist.rendezvous(url, timeout=wait))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=where.rank,
            world_size=where.world_size,
            timeout=wait,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
            reason = f"port {where.port} is in use by another program; set MASTER_PORT to a free one"
        raise InputError(f"the process group cannot form: {where}: {reason}") from error
    return dist.PrefixStore("paws", store)


def _say_goodbye(store: dist.Store, where: Place, error: BaseException, patience: float) -> NoReturn:
    """Leave this rank's last words for the others; where the group broke, find out and name who broke it."""
    raised: BaseException | None = error
    while raised is not None:  # a model of DDP in the frames that ended would hold the group and its threads
        traceback.clear_frames(raised.__traceback__)
        raised = raised.__context__
    if isinstance(error, InputError):
        _tell_once(store, error)
    lost_contact = isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
    words = "lost contact" if lost_contact else f"{type(error).__name__}: {error}"
    others = [r for r in range(where.world_size) if r != where.rank]
    causes: list[str] = []
    try:
        store.set(f"words/{where.rank}", words)
        if dist.is_initialized():
            dist.destroy_process_group()  # closes the connections: whoever waits for this rank learns of it now
        if lost_contact:
            heard = {r: store.get(f"words/{r}").decode() for r in _arrived(store, "words", others, patience)}
            causes += [f"rank {r} was killed or hangs" for r in others if r not in heard]
            causes += [f"rank {r} said: {said}" for r, said in heard.items() if said != "lost contact"]
        store.set(f"heard/{where.rank}", "")
        if where.rank == 0:
            _arrived(store, "heard", others, patience)  # the store lives here: stay until everyone has read it
    except RuntimeError:
        causes = ["rank 0 was killed or hangs"]  # the store went with it
    if not lost_contact:
        raise error
    raise LostRankError(f"{where} stops: {'; '.join(causes) or error}") from error


def _tell_once(store: dist.Store, error: InputError) -> None:
    """Print what is wrong with the input on the first rank that finds it out; the others find the same."""
    with suppress(RuntimeError):  # the store is gone: each rank says it
        if store.add(f"told/{hashlib.sha256(str(error).encode()).hexdigest()}", 1) == 1:
            print(f"error: {error}", file=sys.stderr, flush=True)
        error.told = True


def _arrived(store: dist.Store, name: str, ranks: Sequence[int], patience: float) -> list[int]:
    """Those of ``ranks`` whose key appears in the store; after the first that does not, the rest are not waited for."""
    arrived, wait = [], timedelta(seconds=patience)
    for r in ranks:
        try:
            store.wait([f"{name}/{r}"], wait)
            arrived.append(r)
        except dist.DistStoreError:
            wait = timedelta(milliseconds=100)
    return arrived


def relaunch(processes: int, arguments: Sequence[str]) -> NoReturn:
    """Run ``python -m paws ARGUMENTS`` on ``processes`` ranks here by torch's launcher, and end as the first rank that failed.

    The launcher passes on the signals that ask for a checkpoint, and ends the other ranks when one of them ends.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # The launcher's own options by their environment variables, so that a torch without one of them still starts.
    os.environ.setdefault("PET_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2")
    os.environ.setdefault("PET_SHUTDOWN_TIMEOUT", "300")  # seconds for a last step and a checkpoint
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what a rank has to say it says itself
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    try:
        run.run(run.parse_args(["--standalone", "--nproc-per-node", str(processes), "-m", "paws", *arguments]))
    except SignalException as stop:
        raise SystemExit(128 + stop.sigval) from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            raise SystemExit(failure.exitcode) from None
        print(f"error: rank {rank} was ended by {signal.Signals(-failure.exitcode).name}", file=sys.stderr)
        raise SystemExit(128 - failure.exitcode) from None
    raise SystemExit(0)
