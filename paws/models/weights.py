"""Start from the weights of another run or checkpoint; a tensor that does not fit is named, never skipped."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from paws.errors import InputError
from paws.runs.checkpoint import CheckpointFolder, load
from paws.suncet import read_checkpoint

BESIDE = "prototypes"  # stand beside a network that was trained with them, and are no part of another one


def load_weights(encoder: nn.Module, source: Path, *, allow_partial: bool = False) -> list[str]:
    """Load the weights of a run folder (its best, else its last checkpoint) or a checkpoint file into ``encoder``.

    Files of the published code are recognised (``paws.suncet``). Returns the names that were left as they are.

    Raises:
        InputError: nothing to load, or missing, surplus or mis-shaped tensors, all of them named.
    """
    if source.is_dir():
        folder = CheckpointFolder(source / "checkpoints")
        state = folder.load_best() if (source / "checkpoints/best.pt").is_file() else folder.load_latest()
        if state is None:
            raise InputError(f"model.init_from={source}: the run has no checkpoint")
    elif source.name.endswith((".pth.tar", ".pth")):
        state = {"model": read_checkpoint(source)}
    else:
        state = load(source)
    if "model" not in state:
        raise InputError(f"{source}: holds no model, only {', '.join(state)}")
    return assign(encoder, state["model"], source, allow_partial=allow_partial)


def assign(encoder: nn.Module, weights: dict, source: Path, *, allow_partial: bool = False) -> list[str]:
    """Copy ``weights`` by name into ``encoder``; returns the names that found no counterpart (only if ``allow_partial``)."""
    own = encoder.state_dict()
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    missing = [f"missing {name}" for name in own if name not in weights]
    surplus = [f"surplus {name}" for name in weights if name not in own and name != BESIDE]
    other = [
        f"{name} is {tuple(value.shape)}, the network has {shapes[name]}"
        for name, value in weights.items()
        if name in own and tuple(value.shape) != shapes[name]
    ]
    if (missing or surplus or other) and not allow_partial:
        raise InputError(f"{source} does not fit the network:\n  " + "\n  ".join(other + missing + surplus))
    fitting = {name: value for name, value in weights.items() if name in own and tuple(value.shape) == shapes[name]}
    encoder.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]
