"""Randomness as a function of position, never of history.

Every random draw of a run (order, support set, crop, colour) comes from a fresh generator seeded by its key, e.g.
``generator(seed, "crop", step, rank)``. So a resumed run needs only the step, and the number of loader workers changes nothing.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Key = int | str


def seed_of(*key: Key) -> int:
    """A 63-bit seed from a key of ints and strings; equal keys give equal seeds on every machine and Python version."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(*key: Key, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on ``device`` for the draws named by ``key``."""
    import torch

    return torch.Generator(device).manual_seed(seed_of(*key))


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """(count,) draws from [low, high)."""
    import torch

    return torch.rand(count, generator=generator) * (high - low) + low


def python_random(*key: Key) -> random.Random:
    """A ``random.Random`` for the draws named by ``key``; its ``sample(range(n), k)`` costs O(k) whatever n is."""
    return random.Random(seed_of(*key))
