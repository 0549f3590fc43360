"""PAWS pre-training: predict the soft pseudo-label of one view from another (arXiv 2104.13963, Alg. 1)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paws.config.schema import Config, PawsRecipe
from paws.data.source import Source
from paws.data.task import Task
from paws.distributed import gather, mean, rank
from paws.losses import nt_xent, paws_loss
from paws.train.results import judge_pretraining, soft_nn_result
from paws.train.run import Run
from paws.train.setup import encoder_of, large_view, multi_crop, source_of, start


def train(run: Run, encoder: nn.Module, source: Source, recipe: PawsRecipe, prior: Tensor | None = None) -> None:
    """All steps of a PAWS run; every step draws a fresh class-balanced support set.

    B unlabelled images, n small views, S support images in V views, W ranks, C classes, D embedding. ``prior`` (C,) are the
    class frequencies that me-max expects; uniform when absent.
    """
    assert source.labels is not None
    labels = source.labels.to(run.device)  # (W*V*S, C)
    for batch in run.batches(source):
        voted = (run.step - recipe.nt_xent_alone * run.total_steps) / run.steps_per_epoch  # epochs; < 0: NT-Xent alone
        with run.autocast():
            h, z = encoder([*batch.support, *batch.views])  # before / after the prediction head, (V*S + (2+n)B, D)
        h = h.detach()
        supports = sum(map(len, batch.support))
        view1, view2 = h[supports:].split(len(batch.indices))[:2]
        cross_entropy, me_max = paws_loss(
            anchors=z[supports:],  # ((2+n)B, D)
            anchor_support=gather(z[:supports]),  # (W*V*S, D)
            targets=torch.cat([view2, view1]),  # each large view predicts the other one
            target_support=gather(h[:supports]),
            labels=labels,
            temperature=recipe.temperature,
            sharpening=sharpening_at(recipe, voted),
            prior=prior,
            mean_over_ranks=mean,
        )
        loss, metrics = cross_entropy + recipe.me_max * me_max, {"cross_entropy": cross_entropy, "me_max": me_max}
        if recipe.nt_xent:
            large = z[supports : supports + 2 * len(batch.indices)]  # (2B, D)
            contrastive = nt_xent(large, recipe.nt_xent_temperature, keys=gather(large), offset=rank() * len(large))
            loss, metrics["nt_xent"] = float(voted >= 0) * loss + recipe.nt_xent * contrastive, contrastive
        run.update(loss, **metrics)


def sharpening_at(recipe: PawsRecipe, voted: float) -> float:
    """The sharpening temperature after ``voted`` epochs with votes: from 1 to its value in ``sharpening_warmup`` epochs."""
    voted = max(0.0, voted)
    if voted >= recipe.sharpening_warmup:
        return recipe.sharpening
    return 1 - (1 - recipe.sharpening) * voted / recipe.sharpening_warmup


def recipe(run: Run, config: Config, task: Task) -> dict[str, Any]:
    """Pre-train an encoder on the config's images, then evaluate it by soft nearest neighbours."""
    assert isinstance(config.recipe, PawsRecipe)
    encoder = encoder_of(config, task, run.device)
    source = source_of(config, task, run.device, views=multi_crop(config, task), support_view=large_view(config, task))
    changing = config.recipe.nt_xent_alone * config.optim.epochs + config.recipe.sharpening_warmup
    run.judge = partial(judge_pretraining, run, encoder, config, task, changing_epochs=changing)
    train(run, start(run, encoder, source, config.optim), source, config.recipe)
    return soft_nn_result(encoder, config, task, run.device)
