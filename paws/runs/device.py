"""The accelerator that a command is to use."""

from __future__ import annotations

import re

import torch

from paws.errors import InputError


def device_type(name: str, option: str = "machine.device=") -> str:
    """ "auto" resolved to the accelerator that is there, else the CPU; ``option`` is what the user wrote before ``name``.

    Raises:
        InputError: no such kind of device, or it is not there.
    """
    there = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "auto":
        return there
    kind, _, number = str(name).partition(":")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(name)):
        raise InputError(f"{option}{name} is not one of auto, cpu, cuda, cuda:N, mps")
    if (kind not in ("cpu", there)) or (number and int(number) >= torch.cuda.device_count()):
        raise InputError(f"{option}{name} is not available here (found: {there}); use {option}auto")
    return name
