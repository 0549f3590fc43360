"""LARS and SGD of the published code, AdamW, parameter groups, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.RMSNorm)
Group = dict[str, Any]


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose learning rate stands inside the momentum buffer, with layer-wise scaling (arXiv 1708.03888).

    A step is buffer = momentum * buffer - lr * g; p += buffer (torch keeps lr outside; the two are equal at a constant lr).
    In groups with ``lars`` true, g = a (g + wd p) with a = trust ‖p‖ / (‖g‖ + wd ‖p‖ + eps); a parameter or gradient of norm
    zero is stepped by the plain g, without weight decay. In the other groups g = g + wd p.

    Args:
        params: parameters or groups; a group may set lr, momentum, nesterov, weight_decay, trust_coefficient, eps, lars.
        lars: False gives the published code's SGD.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        eps: float = 1e-8,
        lars: bool = True,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "nesterov": nesterov,
                "weight_decay": weight_decay,
                "trust_coefficient": trust_coefficient,
                "eps": eps,
                "lars": lars,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient; gradients are left as they are."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step_group(group, params)
        return loss

    def _step_group(self, group: Group, params: list[Tensor]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        decay, momentum = group["weight_decay"], group["momentum"]
        if group["lars"]:
            grads = _scaled(params, grads, decay, group["trust_coefficient"], group["eps"])
        elif decay:
            grads = list(torch._foreach_add(grads, params, alpha=decay))
        steps = list(torch._foreach_mul(grads, -group["lr"]))
        fresh = [p for p in params if "momentum_buffer" not in self.state[p]]
        for p in fresh:
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, steps)
        torch._foreach_add_(
            params, torch._foreach_add(steps, buffers, alpha=momentum) if group["nesterov"] else buffers
        )


def _scaled(params: list[Tensor], grads: list[Tensor], decay: float, trust: float, eps: float) -> list[Tensor]:
    """LARS gradients, computed for all layers at once and without waiting for the device."""
    p_norm, g_norm = torch.stack(torch._foreach_norm(params)), torch.stack(torch._foreach_norm(grads))  # (layers,)
    scale = trust * p_norm / (g_norm + decay * p_norm + eps)
    moves = (p_norm > 0) & (g_norm > 0)
    scales = torch.where(moves, scale, 1).unbind()
    scaled = list(torch._foreach_mul(grads, scales))
    if decay:
        torch._foreach_add_(scaled, torch._foreach_mul(params, torch.where(moves, scale * decay, 0).unbind()))
    return scaled


def parameter_groups(model: nn.Module, weight_decay: float, rule: str = "module") -> list[Group]:
    """Two groups: weights (decayed, scaled by LARS), then norm parameters and biases (neither).

    ``rule="module"`` finds the second group by module type and shape. ``rule="suncet"`` is the published code's: names that
    hold 'bias' or 'bn', which misses the batch norms of a ResNet's down-sampling shortcuts. Frozen parameters are left out.
    """
    if rule not in ("module", "suncet"):
        raise ValueError(f"rule is {rule!r}, expected 'module' or 'suncet'")
    weights, rest = [], []
    for module_name, module in model.named_modules():
        for name, p in module.named_parameters(module_name, recurse=False):
            if not p.requires_grad:
                continue
            excluded = (
                ("bias" in name or "bn" in name) if rule == "suncet" else (p.ndim <= 1 or isinstance(module, NORMS))
            )
            (rest if excluded else weights).append(p)
    return [
        {"params": weights, "weight_decay": weight_decay, "lars": True},
        {"params": rest, "weight_decay": 0.0, "lars": False},
    ]


def build_optimizer(
    name: str,
    groups: list[Group],
    lr: float,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    trust_coefficient: float = 0.001,
) -> torch.optim.Optimizer:
    """The optimiser ``name`` (lars, sgd, adamw) over groups of ``parameter_groups``; empty groups are dropped."""
    groups = [group for group in groups if group["params"]]
    if name == "adamw":
        plain = [{key: value for key, value in group.items() if key != "lars"} for group in groups]
        return torch.optim.AdamW(plain, lr, betas=(momentum, 0.999), fused=True)
    if name not in ("lars", "sgd"):
        raise ValueError(f"optimiser {name!r} is not one of lars, sgd, adamw")
    if name == "sgd":
        groups = [{**group, "lars": False} for group in groups]
    return LARS(groups, lr, momentum=momentum, nesterov=nesterov, trust_coefficient=trust_coefficient)


def warmup_cosine(
    step: int, *, start_lr: float, lr: float, final_lr: float, warmup_steps: float, total_steps: int
) -> float:
    """Learning rate of a step (from 0): linear from ``start_lr`` to ``lr`` in warm-up, then a half cosine to ``final_lr``."""
    if step < warmup_steps:
        return start_lr + step / warmup_steps * (lr - start_lr)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return max(final_lr, final_lr + (lr - final_lr) * 0.5 * (1 + math.cos(math.pi * progress)))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the learning rate ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr
