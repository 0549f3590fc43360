"""Optimisers of the published code, parameter groups, and the learning rate as a function of the step.

SGD and LARS work on whole lists of tensors and never wait for the device.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from paws.errors import InputError

if TYPE_CHECKING:
    from paws.config.schema import Optim

Groups = list[dict[str, Any]]
Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


def uncompiled(optimizer: type[Kind]) -> type[Kind]:
    """A class of torch.optim that does not import torch's compiler when it is first used, which takes over a second.

    torch marks methods of every optimizer as none that its compiler looks into, and the marks import it. Steps are the same to
    the bit; gradients do not flow through them.
    """
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in ("add_param_group", "zero_grad", "step")}
    return type(optimizer.__name__, (optimizer,), {**methods, "step": torch.no_grad()(methods["step"])})


class SGD(torch.optim.Optimizer):
    """SGD with the learning rate inside the momentum buffer, as in the published code of PAWS.

    buffer = momentum * buffer - lr * (gradient + weight_decay * p); p += buffer. torch.optim.SGD multiplies by the rate
    outside: the two are the same at a constant rate, while here a step keeps the rate it was taken with.
    ``nesterov`` adds step + momentum * buffer instead. State key: ``momentum_buffer``. Gradients are left as they are.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **defaults: Any,
    ) -> None:
        rates = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(params, {**rates, **defaults})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(group, params, self._steps(group, params))
        return loss

    def _steps(self, group: dict[str, Any], params: list[Tensor]) -> list[Tensor]:
        """-lr * (gradient + weight_decay * p) for each parameter."""
        return _scaled(group, params, -group["lr"])

    def _update(self, group: dict[str, Any], params: list[Tensor], steps: list[Tensor]) -> None:
        momentum = group["momentum"]
        if momentum:
            for p in params:
                if not self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            buffers = [self.state[p]["momentum_buffer"] for p in params]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, steps)
            if group["nesterov"]:
                torch._foreach_add_(steps, buffers, alpha=momentum)
            else:
                steps = buffers
        torch._foreach_add_(params, steps)


class LARS(SGD):
    """SGD whose step is scaled per layer to the norm of its weights (arXiv 1708.03888), in groups with ``lars`` true.

    Gradient and weight decay are multiplied by trust_coefficient * |p| / (|g| + weight_decay * |p| + eps). A layer
    whose weights or gradient are all zero takes the plain gradient, without weight decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr, momentum, nesterov, weight_decay, lars=True, trust_coefficient=trust_coefficient, eps=eps)

    def _steps(self, group: dict[str, Any], params: list[Tensor]) -> list[Tensor]:
        if not group["lars"]:
            return super()._steps(group, params)
        factors = trust_ratios(params, group["weight_decay"], group["trust_coefficient"], group["eps"]) * -group["lr"]
        return _scaled(group, params, factors.unbind())


def trust_ratios(params: list[Tensor], weight_decay: float, trust_coefficient: float = 0.001, eps: float = 1e-8) -> Tensor:
    """The factors (P,) by which LARS multiplies the decayed gradients of P parameters with gradients."""
    weight_norms = torch.stack(torch._foreach_norm(params))  # (P,)
    gradient_norms = torch.stack(torch._foreach_norm(_gradients(params)))  # (P,)
    ratios = trust_coefficient * weight_norms / (gradient_norms + weight_decay * weight_norms + eps)
    # Zero weights: factor 1, as their decay is zero by itself. Zero gradient: factor 0 takes the decay away.
    return ratios.where(weight_norms > 0, 1) * (gradient_norms != 0)


def _scaled(group: dict[str, Any], params: list[Tensor], scale: Any) -> list[Tensor]:
    """scale * (gradient + weight_decay * p) in new tensors; ``scale`` is a number or a list of scalar tensors."""
    if not group["weight_decay"]:
        return list(torch._foreach_mul(_gradients(params), scale))
    steps = torch._foreach_add(_gradients(params), params, alpha=group["weight_decay"])
    torch._foreach_mul_(steps, scale)
    return list(steps)


def _gradients(params: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in params if p.grad is not None]


def parameter_groups(
    model: nn.Module, weight_decay: float, rule: Literal["module", "suncet"] = "module", first_rate: float = 1.0
) -> Groups:
    """Two groups of the trainable parameters: with weight decay and LARS, and without either.

    rule "module": decayed are the parameters of at least two dimensions, unless they belong to a norm layer or a
    module's own ``no_weight_decay`` names them (position embeddings of timm's models).
    rule "suncet": decayed are those with neither "bias" nor "bn" in their name, as in the published code, which takes
    the batch norms of resnet shortcuts (``downsample.1``) for weights.

    first_rate: where it is not 1, each parameter has a group of its own, with the ``rate`` by which `set_lr` multiplies:
    geometric from ``first_rate`` of the first one to 1 of the last, in the order of the layers.

    Raises:
        InputError: unknown rule.
    """
    if rule not in _RULES:
        raise InputError(f"unknown rule {rule!r} for parameter groups; it is one of {', '.join(_RULES)}")
    plain = _RULES[rule](model)
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if first_rate != 1:
        steps = max(1, len(trainable) - 1)
        return [
            {
                "params": [p],
                "weight_decay": 0.0 if name in plain else weight_decay,
                "lars": name not in plain,
                "rate": first_rate ** (1 - i / steps),
            }
            for i, (name, p) in enumerate(trainable)
        ]
    return [
        {"params": [p for name, p in trainable if name not in plain], "weight_decay": weight_decay, "lars": True},
        {"params": [p for name, p in trainable if name in plain], "weight_decay": 0.0, "lars": False},
    ]


def _plain_by_module(model: nn.Module) -> set[str]:
    norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    plain = set()
    for prefix, module in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        own = module.named_parameters(recurse=False)
        plain |= {dot + name for name, p in own if p.ndim < 2 or isinstance(module, norms)}
        if callable(excluded := getattr(module, "no_weight_decay", None)):
            plain |= {dot + name for name in excluded()}
    return plain


def _plain_by_name(model: nn.Module) -> set[str]:
    return {name for name, _ in model.named_parameters() if "bias" in name or "bn" in name}


_RULES = {"module": _plain_by_module, "suncet": _plain_by_name}


def build_optimizer(
    name: Literal["lars", "sgd", "adamw"],
    groups: Groups,
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    trust_coefficient: float = 0.001,
) -> torch.optim.Optimizer:
    """LARS, SGD or torch's AdamW over the groups of :func:`parameter_groups`, which carry the weight decay.

    ``momentum`` is AdamW's first beta too; the second is 0.999.

    Raises:
        InputError: unknown name.
    """
    if name == "lars":
        return LARS(groups, lr, momentum, nesterov, trust_coefficient=trust_coefficient)
    if name == "sgd":
        return SGD(groups, lr, momentum, nesterov)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr, betas=(momentum, 0.999), fused=True)
    raise InputError(f"unknown optimiser {name!r}; it is one of lars, sgd, adamw")


def warmup_cosine(step: int, *, start_lr: float, lr: float, final_lr: float, warmup_steps: int, total_steps: int) -> float:
    """Learning rate of ``step`` in [0, total_steps): linear from start_lr to lr, then half a cosine towards final_lr."""
    if step < warmup_steps:
        return start_lr + step / warmup_steps * (lr - start_lr)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return max(final_lr, final_lr + (lr - final_lr) * 0.5 * (1 + math.cos(math.pi * progress)))


def optimizer_and_rate(
    model: nn.Module, settings: Optim, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, Callable[[int], float]]:
    """The optimiser of a config's ``optim`` over the trainable parameters, and the learning rate as a function of the step."""
    optimizer = build_optimizer(
        settings.name,
        parameter_groups(model, settings.weight_decay, settings.groups, settings.first_rate),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        trust_coefficient=settings.trust_coefficient,
    )
    rate = partial(
        warmup_cosine,
        start_lr=settings.start_lr,
        lr=settings.lr,
        final_lr=settings.final_lr,
        warmup_steps=round(settings.warmup_epochs * steps_per_epoch),
        total_steps=settings.epochs * steps_per_epoch,
    )
    return optimizer, rate


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the learning rate ``lr``, times its ``rate`` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("rate", 1.0)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give the optimiser the moments of ``state``; its settings stay what the config says now.

    Raises ValueError where the state is another optimiser's.
    """
    settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    if [group.keys() - {"params"} for group in state["param_groups"]] != [group.keys() for group in settings]:
        raise ValueError("it was written with another optimiser")
    optimizer.load_state_dict(state)
    for group, now in zip(optimizer.param_groups, settings, strict=True):
        group.update(now)
