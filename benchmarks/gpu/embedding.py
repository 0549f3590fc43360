"""Images a second through a frozen backbone, with weights drawn at random: speed does not depend on them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from benchmarks.gpu.bench import Bench
from paws.models.runtime import Runtime
from paws.models.sources import frozen_backbone


def measure_embedding(bench: Bench, name: str, size: int) -> dict[str, Any]:
    """Images a second from uint8 pixels on the host to features on the host, through the product's own runtime."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(timm.create_model(name, pretrained=False).state_dict(), path)
        runtime = Runtime(frozen_backbone(name, path, size), bench.device)
        images = torch.randint(0, 256, (4 if bench.dry else 1024, 3, size, size), dtype=torch.uint8)
        seconds = bench.time(lambda: runtime(images), rounds=5)
    return {"images_per_second": round(len(images) / seconds), "pixels": size}
