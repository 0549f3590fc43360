"""What detaching NT-Xent's keys, as the published code does, changes in its gradient: on digits, before and after training.

The value is |2 * detached - full| / |full| of the gradient by the network's weights after training: 0 would mean that the two
differ by a factor of two alone, which the learning rate takes up.

    python -m benchmarks.nt_xent [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.side_by_side import Figure, finish
from paws.config.cards import load_config
from paws.data.views import MultiCrop
from paws.losses import nt_xent
from paws.methods.build import encoder_of, large_view, task_of
from paws.models.weights import load_weights
from paws.seeds import generator
from paws.train import train

CARD = Path(__file__).parents[1] / "configs/digits.yaml"
BATCHES, BATCH = 10, 256


class Difference(NamedTuple):
    """Means over batches of views."""

    norm_ratio: float  # |detached| / |full|
    cosine: float  # between the two
    rest: float  # |2 * detached - full| / |full|


def difference(encoder: torch.nn.Module, views: MultiCrop, images: torch.Tensor) -> Difference:
    """Of the gradients by the weights with detached keys and with the full gradient."""
    found = []
    for batch in range(BATCHES):
        draws = generator("benchmark", batch)
        chosen = images[torch.randperm(len(images), generator=draws)[:BATCH]]
        _, z = encoder(views(chosen, draws))  # (2B, D)
        parameters = [p for p in encoder.parameters() if p.requires_grad]
        detached, full = (
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
            for loss in (nt_xent(z, 0.1), nt_xent(z, 0.1, key_gradient=True))
        )
        ratio, cosine = detached.norm() / full.norm(), detached @ full / detached.norm() / full.norm()
        found.append([ratio.item(), cosine.item(), ((2 * detached - full).norm() / full.norm()).item()])
    return Difference(*torch.tensor(found).mean(0).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train for 60 steps instead of 600")
    epochs = 1 if parser.parse_args().quick else 10
    with tempfile.TemporaryDirectory() as folder:
        changes = ["recipe={name: simclr_ct, supervised_epochs: 0}", f"optim.epochs={epochs}", f"run_dir={folder}/run"]
        config = load_config(CARD, changes)
        task = task_of(config)
        encoder, views = encoder_of(config, task, torch.device("cpu")), MultiCrop(large_view(config, task), None, 2, 0)
        start = difference(encoder, views, task.train.images)
        train(config, quiet=True)
        load_weights(encoder, config.run_dir)
        trained = difference(encoder, views, task.train.images)
    for name, found in (("at the start", start), ("after training", trained)):
        print(f"{name}: norm ratio {found.norm_ratio:.3f}, cosine {found.cosine:.4f}, rest {found.rest:.3f}")
    more = {
        "norm_ratio": round(trained.norm_ratio, 3),
        "cosine": round(trained.cosine, 4),
        "rest_at_start": round(start.rest, 3),
    }
    name = "share of the full gradient that twice the detached one misses"
    finish(Figure(name, round(trained.rest, 3), 1.0, higher_is_better=False), **more)


if __name__ == "__main__":
    main()
