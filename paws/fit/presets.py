"""Presets of a fit: which backbones at what size and with how many views, chosen by the machine and the folder if nobody says.

A preset fills in what is absent of ``backbone``, ``image_size`` and ``views``. No preset downloads anything: its backbones are
on the machine after installation, or are taken from the hub's cache where they lie there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

from paws.config.options import FitOptions, PresetName
from paws.config.threads import cores
from paws.data.images import size_of
from paws.data.stored_views import Picture
from paws.errors import InputError
from paws.models.hub import PACKAGES, available
from paws.models.joined import Backbone
from paws.models.sources import LITE, frozen_backbones

LOOKED_AT = 50  # images whose size is read
SMALLEST = 64  # pixels that a backbone is given
ENLARGED = 2  # times that a small image is, at most
MOST_VIEWS = 5  # random ones
SOON = 600.0  # seconds that a preset may take which nobody asked for
SPEED = 12e9  # multiplications and additions a second of a core, to choose a preset by; the estimate is measured


@dataclass(frozen=True)
class Preset:
    """What is absent of a fit's options."""

    backbones: tuple[tuple[str, ...], ...]  # the first of them of which all are on this machine
    image_size: int  # pixels, less for a folder of small images
    views: int  # random ones at that size; more of smaller views, which take less
    operations: float  # multiplications and additions of a view at 224 pixels, in 10^9


SMALL_DINO = "vit_small_patch14_dinov2.lvd142m"

PRESETS: dict[PresetName, Preset] = {
    "fast": Preset(((LITE,),), 96, 1, 0.4),
    "balanced": Preset(((LITE,),), 160, 1, 0.4),
    "best": Preset(((SMALL_DINO,), tuple(PACKAGES), (LITE,)), 224, 5, 5.5),
}


@dataclass(frozen=True)
class Plan:
    """The options with nothing left open, and one sentence on how they came about."""

    options: FitOptions
    why: str


def plan(options: FitOptions, pictures: Sequence[Picture], *, device: str = "cpu", former: str | None = None) -> Plan:
    """Fill in what is absent of ``options`` for a fit of ``pictures``.

    Args:
        former: the preset that an earlier fit into the same folder has chosen.

    Raises:
        InputError: ``weights`` without the backbone that they are of.
    """
    if options.weights is not None and options.backbone is None:
        raise InputError("--weights is the file of one network's weights: say which one, with --backbone NAME")
    name = options.preset or _known(former) or chosen(len(pictures), device)
    preset = PRESETS[name]
    found = next(names for names in preset.backbones if all(map(available, names)))
    backbone = options.backbone or ",".join(found)
    size = options.image_size
    if size is None and options.backbone is None:
        size = min(preset.image_size, fitting_size(pictures))
    views = views_of(preset, size or preset.image_size) if options.views is None else options.views
    how = (
        "asked for" if options.preset else "chosen for this folder and machine; --preset fast, balanced or best says otherwise"
    )
    if options.backbone is not None:
        why = f"{options.backbone} was asked for"
    elif found == preset.backbones[0]:
        why = f"the backbone of the preset {name}, {how}"
    else:
        missing = [other for other in preset.backbones[0] if not available(other)]
        why = f"in place of {', '.join(missing)}, whose weights are not on this machine (preset {name}, {how})"
    return Plan(replace(options, preset=name, backbone=backbone, image_size=size, views=views), why)


def check_trainable(options: FitOptions, *, device: str, former: str | None) -> None:
    """That --train has one network to go on from, and a combination to be a part of: told before a picture is read.

    Raises:
        InputError: several backbones, or a single method.
    """
    if options.model != "auto":
        raise InputError(f"--train makes one more part of the combination of methods: leave out --model {options.model}")
    names = plan(options, (), device=device, former=former).options.backbone or LITE
    if "," in names:
        raise InputError(f"--train goes on from one network, not from several ({names}): give one, with --backbone NAME")


def backbone_of(options: FitOptions) -> Backbone:
    """The backbone that options name, one or several."""
    names = [name.strip() for name in (options.backbone or LITE).split(",")]
    return frozen_backbones(names, () if options.weights is None else (options.weights,), options.image_size)


def chosen(images: int, device: str = "cpu") -> PresetName:
    """The preset of a fit of so many images when nobody asks for one: with a GPU the best, else what is done in ten minutes."""
    if device.startswith("cuda"):
        return "best"
    return "balanced" if images * _work(PRESETS["balanced"]) < SOON * SPEED * cores() else "fast"


def smaller(name: str | None, size: int, views: int) -> list[tuple[PresetName, float]]:
    """The presets that take less work than ``name`` with views of ``size`` pixels, and the share of its work they take."""
    if name not in PRESETS:
        return []
    work = PRESETS[name].operations * size**2 * (1 + views)
    shares = [(other, p.operations * min(p.image_size, size) ** 2 * (1 + p.views) / work) for other, p in PRESETS.items()]
    return [(other, share) for other, share in shares if share < 0.7]


def views_of(preset: Preset, size: int) -> int:
    """Random views of ``size`` pixels: as many as take the work of the preset's own at its size, at most `MOST_VIEWS`."""
    return max(preset.views, min(MOST_VIEWS, int((1 + preset.views) * (preset.image_size / size) ** 2) - 1))


def _work(preset: Preset) -> float:
    """Multiplications and additions of an image."""
    return preset.operations * 1e9 * (preset.image_size / 224) ** 2 * (1 + preset.views)


def _known(name: str | None) -> PresetName | None:
    return next((known for known in PRESETS if known == name), None)


def fitting_size(pictures: Sequence[Picture]) -> int:
    """Pixels above which views of these images show nothing more: twice the typical shorter side, a multiple of 32."""
    sides = []
    for i in range(0, len(pictures), max(1, math.ceil(len(pictures) / LOOKED_AT))):
        with suppress(InputError):  # the check says what is wrong with it
            sides.append(min(size_of(pictures[i])))
    most = ENLARGED * median(sides) if sides else math.inf
    return max(SMALLEST, 32 * math.ceil(most / 32)) if most < math.inf else PRESETS["best"].image_size
