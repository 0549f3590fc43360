"""What the momentum of the wide resnet's last batch norm does to evaluation: `python -m benchmarks.bn_momentum [--quick]`.

The published code has 0.99 there and 0.1 in all other layers. Training never reads running statistics, so one PAWS run on
digits serves all momenta: the statistics of each are kept side by side, and the same weights are evaluated with each. Views of
two sizes pass through the network in turn, the small ones last.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

from benchmarks.side_by_side import Figure, finish
from paws.config.cards import load_config
from paws.methods.build import task_of
from paws.methods.paws import Paws
from paws.train.evaluation import evaluate_network
from paws.train.run import Run

MOMENTA = (0.99, 0.1, 0.01)


class Statistics:
    """Running mean and variance of what a batch norm is given in training, for one momentum."""

    def __init__(self, norm: nn.BatchNorm2d, momentum: float) -> None:
        self.momentum = momentum
        self.twin = nn.BatchNorm2d(norm.num_features, momentum=momentum, affine=False)
        norm.register_forward_pre_hook(self.see)

    @torch.no_grad()
    def see(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Update as the batch norm itself would."""
        if norm.training:
            self.twin(inputs[0])

    def put_into(self, norm: nn.BatchNorm2d) -> None:
        """Let the batch norm evaluate with these."""
        assert norm.running_mean is not None and norm.running_var is not None
        assert self.twin.running_mean is not None and self.twin.running_var is not None
        norm.running_mean.copy_(self.twin.running_mean)
        norm.running_var.copy_(self.twin.running_var)


def measure(seed: int, steps: int, batch_size: int) -> dict[float, float]:
    """Top-1 in [0, 1] by momentum, of one run with four labels per class."""
    overrides = [
        f"seed={seed}",
        "model.name=wide_resnet28w2",
        "data.labels.per_class=4",
        "views={size: 8, small: 2, small_size: 5, small_scale: [0.8, 1.2]}",
        "recipe={name: paws}",
        f"optim={{epochs: 1, steps_per_epoch: {steps}, batch_size: {batch_size}, warmup_epochs: 0.1}}",
    ]
    config, device = load_config(Path("configs/digits.yaml"), overrides), torch.device("cpu")
    task = task_of(config)
    method = Paws.build(config, task, device)
    encoder, norm = method.encoder, method.encoder.get_submodule("backbone.bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    kept = [Statistics(norm, momentum) for momentum in MOMENTA]
    with Run(device, quiet=True) as run:
        run.start(method, config.optim)
        run.train()
    found = {}
    for statistics in kept:
        statistics.put_into(norm)
        found[statistics.momentum] = evaluate_network(encoder, config, task, device)["top1"]
    print(f"seed {seed}: " + ", ".join(f"{momentum:g}: {100 * top1:.1f}" for momentum, top1 in found.items()), flush=True)
    return found


def main() -> None:
    """Print top-1 of every seed and momentum and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, a short run, under 60 s")
    options = parser.parse_args()
    runs = [measure(0, 30, 16)] if options.quick else [measure(seed, 100, 32) for seed in range(3)]
    means = {f"{momentum:g}": round(100 * mean(run[momentum] for run in runs), 1) for momentum in MOMENTA}
    gained = round(means["0.1"] - means["0.99"], 1)
    finish(Figure("points of top-1 by momentum 0.1 over 0.99", gained), top1_percent=means)


if __name__ == "__main__":
    main()
