"""What a training step costs beyond the bare network: `python -m benchmarks.step [--quick]`.

A step of the CIFAR-10 recipe (WRN-28-2, two 32-pixel and six 18-pixel views, a support set) through the recipe's own loop
beside forward and backward of the same network on the same ready-made tensors, in turn, in CPU-seconds.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.side_by_side import cost_ratio, print_result
from paws.config.schema import Optim, PawsRecipe
from paws.data.source import Batch
from paws.data.support import support_labels
from paws.methods import paws
from paws.models import build_encoder
from paws.train.run import Run
from paws.train.setup import start

B, SMALL, CLASSES, PER_CLASS = 4, 6, 10, 1


class ReadyMade:
    """A source that gives the same tensors again and again."""

    steps_per_epoch = 1_000_000

    def __init__(self) -> None:
        draws = torch.Generator().manual_seed(0)
        large = [torch.randn(B, 3, 32, 32, generator=draws) for _ in range(2)]
        small = [torch.randn(B, 3, 18, 18, generator=draws) for _ in range(SMALL)]
        support = [torch.randn(CLASSES * PER_CLASS, 3, 32, 32, generator=draws) for _ in range(2)]
        self.batch = Batch(large + small, support, torch.arange(B), torch.arange(CLASSES))
        self.labels = support_labels(CLASSES, PER_CLASS, 2, smoothing=0.1)

    def batches(self, steps):
        """Batches without any work."""
        for _ in steps:
            yield self.batch


def main() -> None:
    """Print the ratio and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under 60 s")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    source = ReadyMade()
    encoder = build_encoder("wide_resnet28w2", output_dim=128)
    views = [*source.batch.support, *source.batch.views]
    cotangent = torch.randn(sum(map(len, views)), 128)
    with Run(torch.device("cpu"), quiet=True) as run:
        model = start(run, encoder, source, Optim(name="lars", lr=0.1, epochs=1))  # type: ignore[arg-type]

        def steps() -> None:
            run.total_steps = run.step + 2
            paws.train(run, model, source, PawsRecipe())  # type: ignore[arg-type]

        def bare() -> None:
            for _ in range(2):
                encoder(views)[1].backward(cotangent)
                encoder.zero_grad(set_to_none=True)

        ratio = cost_ratio(steps, bare, rounds=5 if quick else 25)
    low, high = ratio.spread
    print(f"recipe {ratio.cost_a / 2:.3f} s a step, network alone {ratio.cost_b / 2:.3f} s")
    print(f"{ratio.value:.3f} x ({low:.3f} to {high:.3f})")
    print_result("step overhead", round(ratio.value, 4), 1.08, higher_is_better=False, spread=ratio.spread)


if __name__ == "__main__":
    main()
