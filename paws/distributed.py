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
from torch.nn.modules.batchnorm import _BatchNorm

from paws.process_group import LostRankError, Place, init, place, relaunch

__all__ = [
    "LostRankError",
    "Place",
    "SyncBatchNorm",
    "any_rank",
    "barrier",
    "broadcast_object",
    "convert_sync_batchnorm",
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


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the rows of all ranks, on any device; the same numbers as one process with all the rows.

    For CPU tensors, which torch's own refuses. Input (N, D, ...), N >= 1 may differ between ranks. State-dict names,
    momentum and unbiased running variance are those of `torch.nn.BatchNorm1d`; in eval mode it is that module.
    Half-precision inputs keep their dtype, statistics are taken in float32. Raises ValueError for a single value per
    channel over all ranks.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        mean, var = self._global_statistics(x)  # (D,), (D,)
        scale = torch.rsqrt(var + self.eps)
        if self.affine:
            scale = scale * self.weight.to(x.dtype)
        shift = -mean * scale
        if self.affine:
            shift = shift + self.bias.to(x.dtype)
        per_channel = (1, -1) + (1,) * (x.dim() - 2)
        return (x * scale.view(per_channel) + shift.view(per_channel)).to(input.dtype)

    def _global_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance over all ranks; every rank's own are combined: a large mean costs no digits."""
        dims = [0, *range(2, x.dim())]
        local_var, local_mean = torch.var_mean(x, dims, correction=0)  # (D,) each
        count = x.new_full((1,), x.numel() // x.shape[1])
        rows = gather(torch.cat([local_mean, local_var, count])[None])  # (W, 2D+1)
        means, variances, counts = rows.split([x.shape[1], x.shape[1], 1], dim=1)
        total = counts.detach().sum()
        if total <= 1:
            raise ValueError("expected more than 1 value per channel over all ranks when training")
        share = counts.detach() / total  # (W, 1)
        mean = (share * means).sum(0)
        var = (share * (variances + (means - mean) ** 2)).sum(0)
        if self.track_running_stats:
            self._update_running_statistics(mean.detach(), var.detach() * total / (total - 1))
        return mean, var

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, unbiased_var: Tensor) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased_var.to(self.running_var.dtype), momentum)


class _SyncBatchNormAct(SyncBatchNorm):
    """The counterpart of timm's BatchNormAct2d: normalisation with drop-out and activation in one module."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))


_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def convert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """``module`` with every batch norm replaced by one over all ranks, sharing parameters and buffers.

    On CUDA it is torch's own (timm's converter, which knows timm's fused activation), on the CPU ours. With one process
    nothing is replaced. Raises TypeError for a batch norm of a class whose behaviour is not known here.
    """
    if world_size() == 1:
        return module
    if any(parameter.is_cuda for parameter in module.parameters()):
        from timm.layers import convert_sync_batchnorm as convert_on_cuda

        return convert_on_cuda(module)
    return _convert_on_cpu(module)


def _convert_on_cpu(module: nn.Module) -> nn.Module:
    from timm.layers import BatchNormAct2d

    for name, child in module.named_children():
        setattr(module, name, _convert_on_cpu(child))
    if not isinstance(module, _BatchNorm) or isinstance(module, SyncBatchNorm):
        return module
    if type(module) is BatchNormAct2d:
        new: SyncBatchNorm = _SyncBatchNormAct(module.num_features, module.eps, module.momentum)
        new.drop, new.act = module.drop, module.act
    elif type(module) in _PLAIN:
        new = SyncBatchNorm(module.num_features, module.eps, module.momentum)
    else:
        raise TypeError(f"cannot synchronise a {type(module).__name__} over ranks")
    new.affine, new.track_running_stats = module.affine, module.track_running_stats
    new.weight, new.bias = module.weight, module.bias
    new.running_mean, new.running_var = module.running_mean, module.running_var
    new.num_batches_tracked = module.num_batches_tracked
    return new.train(module.training)


def over_ranks(model: nn.Module, device: torch.device) -> nn.Module:
    """DDP without the per-step broadcast of buffers: batch norm over all ranks keeps them equal."""
    ddp = nn.parallel.DistributedDataParallel
    known = inspect.signature(ddp).parameters
    quiet = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # the older name
    options: dict[str, Any] = {quiet: False, "device_ids": [device] if device.type == "cuda" else None}
    return ddp(model, **options)
