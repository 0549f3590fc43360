"""Batch normalisation over the rows of all ranks, on the CPU too.

torch's own SyncBatchNorm refuses CPU tensors; ours is one gather of each rank's statistics, differentiated by the gather
(`paws.distributed.gather`). W is the world size, N the rows of one rank, D the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from paws.distributed import gather, world_size


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
