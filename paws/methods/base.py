"""What a training method is: its settings, how it is built from a config, and the loss of a step."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from paws.config.schema import Config, Recipe
from paws.data.source import Batch, Source
from paws.data.task import Task
from paws.distributed import gather, rank
from paws.errors import InputError
from paws.losses import suncet
from paws.methods.build import encoder_of
from paws.models import Encoder

_TABLE: dict[str, type[Method]] = {}


class Method:
    """A way to train an encoder. Defining a subclass with ``Settings`` enters it into the table of ``paws.methods.table``.

    They are what `recipe` in a card takes; their ``name`` is the method's.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # what pages and tables call it
    Settings: ClassVar[type[Recipe]]
    classifies: ClassVar[bool] = False  # z are logits, which evaluation takes; else it takes soft nearest neighbours of z

    encoder: nn.Module  # views -> (h, z); while it trains on several ranks, wrapped to average the gradients
    source: Source  # of the batches
    loss_settles: float = 0.0  # epochs before the loss is the same function in every epoch, so that its values compare

    def __init_subclass__(cls) -> None:
        if "Settings" in vars(cls):
            cls.name = cls.Settings.model_fields["name"].default
            _TABLE[cls.name] = cls

    @classmethod
    def network(cls, config: Config, task: Task, device: torch.device) -> Encoder:
        """The network that is trained, as a checkpoint holds it; all methods but classifiers train the config's encoder."""
        return encoder_of(config, task, device)

    @classmethod
    def build(cls, config: Config, task: Task, device: torch.device) -> Self:
        """The method of a card. Raises InputError for settings that do not fit together."""
        raise NotImplementedError

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, to be minimised, and scalars to log. Runs under the autocast of the run's precision."""
        raise NotImplementedError

    def after_update(self) -> None:
        """Called after every step of the optimiser, e.g. to move an average of the weights."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps besides the encoder: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""


def suncet_of(z: Tensor, source: Source, temperature: float) -> Tensor:
    """SuNCEt's loss of support views z (V*S, D) of ``source`` among those of all ranks (arXiv 2006.10803, eq. 1)."""
    return suncet(
        z,
        source.labels.to(z.device),  # (W*V*S,)
        source.num_classes,
        temperature,
        smoothing=source.smoothing,
        keys=gather(z),
        offset=rank() * len(z),
    )


def table() -> dict[str, type[Method]]:
    """Every method by its name."""
    return dict(_TABLE)


def method(name: str) -> type[Method]:
    """The method of a name. Raises InputError for an unknown one."""
    if name not in _TABLE:
        raise InputError(f"recipe.name={name} is not one of {', '.join(_TABLE)}")
    return _TABLE[name]
