"""Many processes as one: where this process stands, and the collectives the method needs.

Every function works with no process group (then a collective is the identity), so losses, recipes and `Run` never ask
how many ranks there are. W is the world size, N the rows of one rank. Sizes given in configs are per rank, as in the paper.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from paws.distributed.process_group import LostRankError, Place, init, place, relaunch

__all__ = [
    "LostRankError",
    "Place",
    "any_rank",
    "barrier",
    "broadcast_object",
    "gather",
    "gather_objects",
    "init",
    "is_main",
    "largest",
    "local_rank",
    "mean",
    "over_ranks",
    "place",
    "rank",
    "relaunch",
    "world_size",
]


def rank() -> int:
    """Number of this process among all, from 0; 0 with no process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes there are; 1 with no process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Number of this process on its machine, from 0."""
    return place().local_rank if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is rank 0, the only one that writes files."""
    return rank() == 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        everyones = local.new_empty((world_size() * len(local), *local.shape[1:]))  # (W*N, ...)
        dist.all_gather(list(everyones.chunk(world_size())), local.contiguous())  # straight into place
        return everyones

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        cotangent = cotangents[0].clone(memory_format=torch.contiguous_format)  # autograd may share it: never in place
        dist.all_reduce(cotangent)
        return cotangent.chunk(world_size())[rank()]  # (N, ...)


def gather(local: Tensor) -> Tensor:
    """The rows of all ranks, rank by rank: (N, ...) -> (W*N, ...); every rank must bring the same shape and dtype.

    Backward sums the cotangent over ranks and keeps the own slice, so that with DDP's averaging the parameters get the
    gradient of the mean over ranks of the local losses. With one process it is the identity.
    """
    return local if world_size() == 1 else _Gather.apply(local)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.div_(world_size())

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        return cotangents[0]


def mean(local: Tensor) -> Tensor:
    """The mean over ranks of a tensor of any shape; backward is the identity.

    The gradient's 1/W is left to DDP's averaging (me-max, arXiv 2104.13963, eq. 3, over the anchors of all ranks).
    """
    return local if world_size() == 1 else _Mean.apply(local)


def largest(value: int) -> int:
    """The largest of all ranks' values, on every rank."""
    if world_size() == 1:
        return value
    box = torch.tensor([value])
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box.item())


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank: all ranks call it at the same step and agree, e.g. to stop."""
    return bool(largest(int(flag)))


def barrier() -> None:
    """Wait until every rank has come here."""
    any_rank(False)


def broadcast_object(value: Any = None, *, source: int = 0) -> Any:
    """The picklable ``value`` of rank ``source``, on every rank; other ranks' values are ignored."""
    if world_size() == 1:
        return value
    box = [value if rank() == source else None]
    dist.broadcast_object_list(box, src=source, device=torch.device("cpu"))
    return box[0]


def gather_objects(value: Any) -> list[Any]:
    """The picklable values of all ranks in rank order, on every rank; a list of one with one process."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def over_ranks(model: nn.Module, device: torch.device) -> nn.Module:
    """DDP without the per-step broadcast of buffers: batch norm over all ranks keeps them equal."""
    ddp = nn.parallel.DistributedDataParallel
    known = inspect.signature(ddp).parameters
    quiet = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # the older name
    options: dict[str, Any] = {quiet: False, "device_ids": [device] if device.type == "cuda" else None}
    return ddp(model, **options)
