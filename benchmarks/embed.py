"""Embedding images on a CPU, ours against timm's eager model: `python -m benchmarks.embed [--quick]`.

Both give features of the same uint8 images at 64 pixels by EfficientNet-Lite0, in turn, on one thread, in CPU-seconds. The
bar is for equal batches of 256, as an embedding loop is usually written; eager's best batch and memory format stand beside it.
"""

from __future__ import annotations

import argparse

import timm
import torch
from torch.nn.functional import cosine_similarity

from benchmarks.side_by_side import Figure, cost_ratio, cpu_seconds, finish
from paws.models.runtime import Runtime
from paws.models.sources import frozen_backbone
from paws.seeds import generator

SIZE, USUAL = 64, 256
BATCHES = (16, 64, 256)


def main() -> None:
    """Print both ratios and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under 60 s")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    frozen = frozen_backbone("tf_efficientnet_lite0", image_size=SIZE)
    smooth = torch.rand(USUAL, 3, 6, 6, generator=generator("benchmark"))
    images = (torch.nn.functional.interpolate(smooth, size=SIZE, mode="bicubic").clamp(0, 1) * 255).byte()
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    network.load_state_dict(dict(frozen.weights()))
    run = Runtime(frozen)

    @torch.inference_mode()
    def eager(batch: int, memory_format: torch.memory_format) -> torch.Tensor:
        parts = [(part.float() / 255 - 0.5) / 0.5 for part in images.split(batch)]
        return torch.cat([network(part.contiguous(memory_format=memory_format)) for part in parts])

    formats = (torch.contiguous_format, torch.channels_last)
    agreement = cosine_similarity(run(images), eager(USUAL, formats[0])).min().item()
    costs = {}
    for memory_format in formats:
        network.to(memory_format=memory_format)
        for batch in BATCHES:
            eager(batch, memory_format)
            costs[batch, memory_format] = min(cpu_seconds(lambda b=batch, m=memory_format: eager(b, m)) for _ in range(2))
    best = min(costs, key=lambda way: costs[way])
    rounds = 5 if quick else 21
    network.to(memory_format=formats[0])
    usual = cost_ratio(lambda: eager(USUAL, formats[0]), lambda: run(images), rounds)
    network.to(memory_format=best[1])
    against_best = cost_ratio(lambda: eager(*best), lambda: run(images), rounds)
    print(f"ours {USUAL / usual.cost_b:.0f} images per core-second, eager {USUAL / usual.cost_a:.0f} at batch {USUAL}")
    print(f"eager at its best (batch {best[0]}, {best[1]}): {USUAL / against_best.cost_a:.0f}")
    print(f"cosine to eager, worst image: {agreement:.6f}")
    print(f"{usual.value:.1f} x at batch {USUAL}, {against_best.value:.2f} x against eager's best")
    finish(
        Figure("embedding on a CPU over timm's eager model, batch 256", round(usual.value, 2), 4, timing=True),
        Figure("cosine to timm's eager model, worst image", round(agreement, 6), 0.999),
        spread=usual.spread,
        against_best=round(against_best.value, 2),
    )


if __name__ == "__main__":
    main()
