"""Run a function on W gloo ranks, each in a process of its own, with a time limit.

    results = run_ranks(function, 2, argument, ...)    # [result of rank 0, result of rank 1]

``function`` must be importable (top level of a test module), arguments and results picklable. Inside, the process group
exists (`paws.distributed.init`). The processes fork from a server that has imported torch, so a call costs about 0.2 s.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    [
        "pytest",
        "sklearn.datasets",
        "timm.layers",
        "torch.distributed",
        "torch.nn.parallel",
        "paws.train",
    ]
)


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(rank: int, world_size: int, port: int) -> dict[str, str]:
    """What torchrun would set for this rank."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in names.items()}


def _rank(connection: Any, variables: dict[str, str], timeout: float, work: bytes) -> None:
    import torch

    from paws import distributed

    os.environ.update(variables)
    torch.set_num_threads(1)
    try:
        call, args = pickle.loads(work)
        with distributed.init("cpu", timeout=timeout):
            message = (True, call(*args))
    except BaseException:
        message = (False, traceback.format_exc())
    connection.send_bytes(pickle.dumps(message))


def run_ranks(
    call: Callable[..., Any], world_size: int, *args: Any, timeout: float = 300.0, group_timeout: float = 300.0
) -> list[Any]:
    """The results of ``call(*args)`` on every rank, in rank order.

    Raises AssertionError with the tracebacks of all ranks that failed, or naming those that were killed or still ran
    after ``timeout`` seconds (they are killed). ``group_timeout`` is that of every collective.
    """
    work = pickle.dumps((call, args))  # plain bytes: tensors sent by multiprocessing would be shared between the ranks
    port = free_port()
    processes, ends = [], []
    for rank in range(world_size):
        here, there = context.Pipe(duplex=False)
        variables = environment(rank, world_size, port)
        process = context.Process(target=_rank, args=(there, variables, group_timeout, work), daemon=True)
        process.start()
        there.close()
        processes.append(process)
        ends.append(here)
    messages: dict[int, tuple[bool, Any]] = {}
    deadline = time.monotonic() + timeout
    open_ends = dict(enumerate(ends))
    while open_ends and time.monotonic() < deadline:
        for end in wait(list(open_ends.values()), timeout=max(0.0, deadline - time.monotonic())):
            rank = next(r for r, known in open_ends.items() if known is end)
            del open_ends[rank]
            try:
                messages[rank] = pickle.loads(end.recv_bytes())
            except EOFError:
                messages[rank] = (False, "ended without a word")
    for process in processes:
        process.join(timeout=max(0.1, deadline - time.monotonic()))
        process.kill()
        process.join()
    failures = [f"rank {r}: {text}" for r, (fine, text) in sorted(messages.items()) if not fine]
    failures += [f"rank {r}: still ran after {timeout} s" for r in open_ends]
    assert not failures, "\n".join(failures)
    return [messages[rank][1] for rank in range(world_size)]
