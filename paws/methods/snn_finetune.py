"""SuNCEt fine-tuning of a pre-trained encoder on the labelled images (arXiv 2006.10803, section 4)."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from paws.config.schema import Config, SnnFinetuneRecipe
from paws.data.source import Source
from paws.data.task import Task
from paws.distributed import gather, rank, world_size
from paws.losses import suncet
from paws.train.results import judge_pretraining, soft_nn_result
from paws.train.run import Run
from paws.train.setup import check_positives, encoder_of, light_view, source_of, start


def freeze_statistics(model: nn.Module) -> nn.Module:
    """Batch norms keep their running statistics (eval mode); their weights still train."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


def train(run: Run, encoder: nn.Module, source: Source, recipe: SnnFinetuneRecipe) -> None:
    """All steps; S support images in V views, W ranks, D embedding. The last weights are the ones measured."""
    assert source.labels is not None
    labels = source.labels.to(run.device)  # (W*V*S, C)
    freeze_statistics(encoder)
    for batch in run.batches(source):
        with run.autocast():
            _, z = encoder(batch.support)  # (V*S, D)
        loss = suncet(z, labels, recipe.temperature, keys=gather(z), offset=rank() * len(z))
        run.update(loss, suncet=loss)


def recipe(run: Run, config: Config, task: Task) -> dict[str, Any]:
    """Fine-tune ``model.init_from`` on the labelled images, then evaluate by soft nearest neighbours, once."""
    assert isinstance(config.recipe, SnnFinetuneRecipe)
    check_positives(config)
    encoder = encoder_of(config, task, run.device, synchronise=False)
    per_step = config.support.images_per_class * len(task.classes) * world_size()
    source = source_of(
        config,
        task,
        run.device,
        support_view=light_view(config, task),
        steps_per_epoch=max(1, len(task.labelled) // per_step),
    )
    run.judge = partial(judge_pretraining, run, encoder, config, task)
    train(run, start(run, encoder, source, config.optim), source, config.recipe)
    return soft_nn_result(encoder, config, task, run.device)
