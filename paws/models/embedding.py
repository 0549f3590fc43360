"""Features of pictures: the one loop that decodes, makes views and runs the backbone over them.

Letters: N pictures, B of them in a batch, K random views of each beside the plain one, D features of all parts together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from paws.errors import InputError
from paws.models.feature_cache import FeatureCache, content_of
from paws.models.frozen import FROM_PYTHON, TRAINED
from paws.models.joined import Backbone
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
    """Pictures -> features of a ``backbone`` on a ``device``. The networks are made ready at the first picture.

    Features of files are kept (`paws.models.feature_cache`), and those that are there are not computed again. What half
    precision can hold is rounded to it, so that results are the same either way.
    """

    def __init__(self, backbone: Backbone, device: str = "cpu") -> None:
        self.backbone, self.device = backbone, device

    @cached_property
    def runtimes(self) -> list[Runtime]:
        """A network for each part, ready to run."""
        return [Runtime(part, self.device) for part in self.backbone.parts]

    @cached_property
    def caches(self) -> list[FeatureCache]:
        """Where the features of each part are kept; none where a part is a network from Python, known by its name alone."""
        from paws.data.stored_views import VERSION

        if any(part.source == FROM_PYTHON for part in self.backbone.parts):
            return []
        largest = max(part.size for part in self.backbone.parts)
        return [FeatureCache(part, VERSION, largest, self.device.partition(":")[0]) for part in self.backbone.parts]

    def known(self, contents: Sequence[str], views: int = 0, *, mirror: bool = True) -> set[str]:
        """Those of the files ``contents`` whose features are there."""
        numbers = _numbers(views, mirror)
        found = [cache.known(contents, numbers) for cache in self.caches]
        return set.intersection(*found) if found else set()

    def batches(
        self,
        pictures: Sequence[Picture],
        views: int = 0,
        *,
        mirror: bool = True,
        workers: int = 0,
        batch_size: int = BATCH,
        contents: Sequence[str] | None = None,
        known: set[str] | None = None,
    ) -> Iterator[Embedded]:
        """The features of ``pictures`` in order: of the plain view of each, and of ``views`` random ones.

        ``contents`` (N): the digests of the files, where they are known; ``known``: what `known` says of them.
        """
        files = bool(self.caches) and all(isinstance(picture, str | Path) for picture in pictures)
        if not files:
            yield from self._computed(pictures, views, mirror, workers, batch_size)
            return
        digests = [content_of(picture) for picture in pictures] if contents is None else contents  # type: ignore[arg-type]
        known = self.known(digests, views, mirror=mirror) if known is None else known
        missing = [picture for picture, digest in zip(pictures, digests, strict=True) if digest not in known]
        computed = self._one_by_one(missing, views, mirror, workers, batch_size)
        for start in range(0, len(pictures), batch_size):
            some = digests[start : start + batch_size]
            there = self._read([digest for digest in some if digest in known], views, mirror)
            rows: list[tuple[Tensor, str | None, str]] = []
            for place, digest in enumerate(some, start):
                if digest in there:
                    rows.append((there[digest], None, digest))
                elif digest in known:  # removed since by another process, to make room
                    rows += self._one_by_one([pictures[place]], views, mirror, 0, 1)
                else:
                    rows.append(next(computed))
            features, faults, names = zip(*rows, strict=True)
            yield Embedded(torch.stack(features), list(faults), list(names))

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

    def _read(self, contents: list[str], views: int, mirror: bool) -> dict[str, Tensor]:
        """Features (1+K, D) of pictures that are known."""
        numbers = _numbers(views, mirror)
        parts = [cache.read(contents, numbers) for cache in self.caches]
        return {c: torch.cat([part[c] for part in parts], dim=1) for c in contents if all(c in part for part in parts)}

    def _one_by_one(
        self, pictures: Sequence[Picture], views: int, mirror: bool, workers: int, batch_size: int
    ) -> Iterator[tuple[Tensor, str | None, str]]:
        """The rows of `_computed`, kept from now on."""
        numbers = _numbers(views, mirror)
        for batch in self._computed(pictures, views, mirror, workers, batch_size):
            start = 0
            for cache in self.caches:
                cache.add(batch.contents, numbers, batch.features[..., start : start + cache.width])
                start += cache.width
            yield from zip(batch.features, batch.faults, batch.contents, strict=True)

    def _computed(
        self, pictures: Sequence[Picture], views: int, mirror: bool, workers: int, batch_size: int
    ) -> Iterator[Embedded]:
        if not len(pictures):
            return
        from paws.data.stored_views import view_batches  # only here, as torchvision takes long to import

        looks = list(dict.fromkeys((part.size, part.interpolation) for part in self.backbone.parts))
        place = [looks.index((part.size, part.interpolation)) for part in self.backbone.parts]
        options: Any = {"batch_size": batch_size, "workers": workers, "mirror": mirror, "values": self.backbone.values}
        for batch in view_batches(pictures, views, looks, **options):
            blocks = [self._of_part(i, batch.views[look], batch.contents, mirror) for i, look in enumerate(place)]
            features = torch.cat(blocks, dim=2)  # (B, 1+K, D)
            if features.shape[2] != self.backbone.feature_dim or not bool(features.isfinite().all()):
                found = f"{features.shape[2]} features" if bool(features.isfinite().all()) else "features that are not finite"
                raise InputError(
                    f"{self.backbone.name} gives {found}, where {self.backbone.feature_dim} numbers are expected: "
                    "are its weights damaged?"
                )
            half = features.half().float()
            yield Embedded(torch.where(half.isfinite(), half, features), batch.faults, batch.contents)

    def _of_part(self, number: int, views: Tensor, contents: list[str], mirror: bool) -> Tensor:
        """Features (B, 1+K, D_i) of part ``number`` from uint8 (B, 1+K, 3, s, s), or those kept, where another part has none.

        Networks that a fit has trained see the plain view alone, which stands for all: they learned from milder crops.
        """
        if len(self.caches) > 1:
            cache, numbers = self.caches[number], _numbers(views.shape[1] - 1, mirror)
            kept = cache.read([*cache.known(contents, numbers)], numbers)
            if kept.keys() == set(contents):
                return torch.stack([kept[content] for content in contents])
        seen = views[:, :1] if self.backbone.parts[number].source == TRAINED else views
        found = self.runtimes[number](seen.flatten(0, 1)).view(*seen.shape[:2], -1)
        return found.expand(-1, views.shape[1], -1)


def _numbers(views: int, mirror: bool) -> list[int]:
    """The numbers that views are kept under: 0 is the plain one; random ones that are never mirrored are below 0."""
    return [0, *(number if mirror else -number for number in range(1, 1 + views))]
