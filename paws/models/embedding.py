"""Features of pictures: the one loop that decodes, makes views and runs the backbone over them.

Letters: N pictures, B of them in a batch, K random views of each beside the plain one, D features of all parts together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from paws.errors import InputError
from paws.models.frozen import Backbone
from paws.models.runtime import Runtime

if TYPE_CHECKING:
    from paws.data.stored_views import Picture

BATCH = 64  # pictures at a time
SHOWN = 20  # of those that cannot be read


class Embedded(NamedTuple):
    """The features of a batch."""

    features: Tensor  # (B, 1+K, D) float32, the plain view first; without meaning where there is a fault
    faults: list[str | None]  # (B) why a picture could not be read
    contents: list[str]  # (B) names the bytes of each file, "" where it is none


class Embedder:
    """Pictures -> features of a ``backbone`` on a ``device``. The networks are made ready at the first picture."""

    def __init__(self, backbone: Backbone, device: str = "cpu") -> None:
        self.backbone, self.device = backbone, device

    @cached_property
    def _parts(self) -> list[Runtime]:
        return [Runtime(part, self.device) for part in self.backbone.parts]

    def batches(
        self,
        pictures: Sequence[Picture],
        views: int = 0,
        *,
        mirror: bool = True,
        workers: int = 0,
        batch_size: int = BATCH,
    ) -> Iterator[Embedded]:
        """The features of ``pictures`` in order: of the plain view of each, and of ``views`` random ones."""
        from paws.data.stored_views import view_batches  # only here, as torchvision takes long to import

        looks = list(dict.fromkeys((part.size, part.interpolation) for part in self.backbone.parts))
        place = [looks.index((part.size, part.interpolation)) for part in self.backbone.parts]
        options: Any = {"batch_size": batch_size, "workers": workers, "mirror": mirror, "values": self.backbone.values}
        for batch in view_batches(pictures, views, looks, **options):
            blocks = [run(batch.views[i].flatten(0, 1)) for run, i in zip(self._parts, place, strict=True)]  # (B*(1+K), D_i)
            features = torch.cat(blocks, dim=1).view(len(batch.faults), 1 + views, -1)  # (B, 1+K, D)
            yield Embedded(features, batch.faults, batch.contents)

    def features(
        self,
        pictures: Sequence[Picture],
        views: int = 0,
        *,
        mirror: bool = True,
        workers: int = 0,
        advance: Callable[[int], None] = lambda count: None,
    ) -> Tensor:
        """(N, 1+K, D) of all ``pictures``; ``advance`` is told how many were done.

        Raises:
            InputError: pictures that cannot be read, all of them named.
        """
        found, faults = [torch.empty(0, 1 + views, self.backbone.feature_dim)], []
        for batch in self.batches(pictures, views, mirror=mirror, workers=workers):
            found.append(batch.features)
            faults += [fault for fault in batch.faults if fault]
            advance(len(batch.faults))
        if faults:
            title = f"{len(faults)} of {len(pictures)} images cannot be read"
            raise InputError("\n".join(faults) if len(pictures) == 1 else "\n  ".join([f"{title}:", *faults[:SHOWN]]))
        return torch.cat(found)
