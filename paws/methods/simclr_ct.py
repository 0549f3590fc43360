"""SimCLR+CT pre-training: NT-Xent on unlabelled views, SuNCEt on the support batch at first (arXiv 2006.10803)."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from paws.config.schema import Config, SimclrCtRecipe
from paws.data.source import Source
from paws.data.task import Task
from paws.distributed import gather, rank
from paws.errors import InputError
from paws.losses import nt_xent, suncet
from paws.train.results import judge_pretraining, soft_nn_result
from paws.train.run import Run
from paws.train.setup import check_positives, encoder_of, large_view, multi_crop, source_of, start


def train(run: Run, encoder: nn.Module, source: Source, recipe: SimclrCtRecipe) -> None:
    """All steps; B unlabelled images in two views, S support images in V views, W ranks, D embedding."""
    assert source.labels is not None
    labels = source.labels.to(run.device)  # (W*V*S, C)
    for batch in run.batches(source):
        with run.autocast():
            _, z = encoder([*batch.views, *batch.support])  # (2B + V*S, D)
        unlabelled, supports = z.split([2 * len(batch.indices), len(z) - 2 * len(batch.indices)])
        contrastive = nt_xent(
            unlabelled,
            recipe.temperature,
            keys=gather(unlabelled),  # (W*2B, D)
            offset=rank() * len(unlabelled),
            key_gradient=recipe.key_gradient,
        )
        supervised = suncet(supports, labels, recipe.temperature, keys=gather(supports), offset=rank() * len(supports))
        with_labels = float(run.epoch < recipe.supervised_epochs)  # supports always pass through the batch norms
        run.update(contrastive + with_labels * supervised, nt_xent=contrastive, suncet=supervised)


def recipe(run: Run, config: Config, task: Task) -> dict[str, Any]:
    """Pre-train an encoder on the config's images, then evaluate it by soft nearest neighbours.

    Raises InputError if small views are asked for, or too few of the support images.
    """
    assert isinstance(config.recipe, SimclrCtRecipe)
    if config.views.small:
        raise InputError(f"views.small={config.views.small}: simclr_ct compares two large views; set views.small=0")
    check_positives(config)
    encoder = encoder_of(config, task, run.device)
    source = source_of(config, task, run.device, views=multi_crop(config, task), support_view=large_view(config, task))
    changing = config.recipe.supervised_epochs
    run.judge = partial(judge_pretraining, run, encoder, config, task, changing_epochs=changing)
    train(run, start(run, encoder, source, config.optim), source, config.recipe)
    return soft_nn_result(encoder, config, task, run.device)
