"""The accelerator that a command is to use, and the precision on it."""

from __future__ import annotations

import re
from typing import Any

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


def precision_on(device: str, precision: str) -> str:
    """fp32, bf16 or fp16: ``precision``, and what ``half`` is on a device.

    Raises:
        InputError: fp16 on a CPU, which has no fast kernels for it.
    """
    if device != "cpu":
        return "fp16" if precision == "half" else precision
    if precision == "fp16":
        raise InputError("machine.precision=fp16 needs a GPU; on a CPU use machine.precision=fp32, or bf16 where it is fast")
    if precision == "half":
        processor: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not tell
        return "bf16" if processor.get("avx512_bf16") or processor.get("amx_bf16") else "fp32"
    return precision
