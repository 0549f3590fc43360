"""What methods are built from: the task, the views, the batches and the network that a config names."""

from __future__ import annotations

import torch
from torch import Tensor

from paws import distributed
from paws.config.schema import Config
from paws.data.source import Source
from paws.data.support import SupportSampler
from paws.data.task import Task, load_task
from paws.data.views import EvalView, MultiCrop, View, basic_view, eval_view, train_view
from paws.errors import InputError
from paws.models import Encoder, build_encoder, embed
from paws.models.batch_norm import convert_sync_batchnorm
from paws.models.weights import load_weights
from paws.seeds import generator


def task_of(config: Config) -> Task:
    """The images and labels that the config names."""
    data, labels = config.data, config.data.labels
    return load_task(
        data.dataset,
        data.root,
        file=labels.file,
        per_class=labels.per_class,
        fraction=labels.fraction,
        seed=config.seed if labels.seed is None else labels.seed,
        validation=data.validation,
        cache_dir=data.cache_dir,
        skip_broken=data.skip_broken,
        workers=data.workers,
    )


def large_view(config: Config, task: Task) -> View:
    """The full augmentation at the large size, for unlabelled and support images alike."""
    views = config.views
    return train_view(views.preset, views.size, views.scale, views.jitter, task.info.mean, task.info.std)


def multi_crop(config: Config, task: Task) -> MultiCrop:
    """Two large views and the config's number of small ones."""
    views = config.views
    small = train_view(views.preset, views.small_size, views.small_scale, views.jitter, task.info.mean, task.info.std)
    return MultiCrop(large_view(config, task), small if views.small else None, 2, views.small)


def light_view(config: Config, task: Task) -> View:
    """The light augmentation of fine-tuning."""
    return basic_view(config.views.preset, config.views.size, task.info.mean, task.info.std)


def plain_view(config: Config, task: Task) -> EvalView:
    """The view that evaluation sees."""
    return eval_view(config.views.preset, config.views.size, task.info.mean, task.info.std)


def source_of(
    config: Config,
    task: Task,
    device: torch.device,
    *,
    views: MultiCrop | None = None,
    support_view: View | None = None,
    pool: Tensor | None = None,
    steps_per_epoch: int | None = None,
) -> Source:
    """Batches of ``views`` of the ``pool`` (all training images when absent) and of support sets, where asked for."""
    ranks = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    support = config.support
    sampler = None
    if support_view is not None:
        sampler = SupportSampler(
            task.visible,
            classes_per_batch=support.classes_per_batch or len(task.classes),
            images_per_class=support.images_per_class,
            unique_classes=support.unique_classes,
            names=task.classes,
            seed=config.seed,
            **ranks,
        )
    return Source(
        task.train.bank(views, support_view, support.views, device=device),
        pool=torch.arange(len(task.train)) if pool is None and views is not None else pool,
        batch_size=config.optim.batch_size if views is not None else 0,
        sampler=sampler,
        support_views=support.views,
        smoothing=support.smoothing,
        steps_per_epoch=config.optim.steps_per_epoch or steps_per_epoch,
        seed=config.seed,
        workers=config.data.workers,
        **ranks,
    )


def check_positives(config: Config) -> None:
    """Raise InputError where SuNCEt's loss would be infinite: a support image must meet another view of its class."""
    support = config.support
    views = support.images_per_class * support.views * (1 if support.unique_classes else distributed.world_size())
    if views < 2:
        raise InputError(
            "support.images_per_class=1 with support.views=1: SuNCEt compares each view with others of its class, "
            "so that two are needed; raise one of them"
        )


def encoder_of(config: Config, task: Task, device: torch.device, *, synchronise: bool = True) -> Encoder:
    """The config's encoder on the device, with weights of ``model.init_from`` if named; batch norm over all ranks.

    Raises InputError for a network or weights that do not exist, and for views that do not fit the network.
    """
    model = config.model
    encoder = build_encoder(
        model.name,
        output_dim=model.output_dim,
        hidden_dim=model.hidden_dim,
        prediction_head=model.prediction_head,
        in_channels=task.info.channels,
        pretrained=model.pretrained,
        seed=config.seed,
    )
    check_view_sizes(encoder, config, task)
    if model.init_from is not None:
        load_weights(encoder, model.init_from)
    synchronised = convert_sync_batchnorm(encoder) if synchronise else encoder
    return synchronised.to(device)  # type: ignore[return-value]


def check_view_sizes(encoder: Encoder, config: Config, task: Task) -> None:
    """Raise InputError where views are too small for their own operations or for the network."""
    kinds = {"views.size": large_view(config, task)}
    if small := multi_crop(config, task).small:
        kinds["views.small_size"] = small
    for key, view in kinds.items():
        pixels = torch.zeros(2, task.info.channels, view.size, view.size)
        try:
            embed(encoder, [view.colour(pixels, generator(0, key))])
        except (RuntimeError, AssertionError, ValueError) as error:
            wants = f"model.name={config.model.name} or views.preset={config.views.preset} cannot take views of that size"
            raise InputError(f"{key}={view.size}: {wants}, most likely too small: {error}") from error
