"""What the work of a fit will take on this machine, told before it begins, from a second of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from paws.config.options import FitOptions
from paws.data.stored_views import view_batches
from paws.fit.presets import smaller
from paws.fit.progress import StepProgress, in_words
from paws.models.embedding import Embedder

PROBE = 1.0  # seconds
LONG = 600.0  # seconds from which on a smaller preset is worth mentioning
HEADS = (15.0, 0.002)  # seconds of training and comparing heads: at least, and for each image
FEW = 64  # images that are embedded without an estimate
RESIDENT = 0.7e9  # bytes of the libraries, and of a network with what it computes


def announce(
    progress: StepProgress, embedder: Embedder, paths: Sequence[str], images: int, options: FitOptions, views: int, workers: int
) -> None:
    """Make the networks ready, and say how long a fit of ``images`` will take of which ``paths`` are to be embedded."""
    with progress.timed("network"):
        networks = embedder.runtimes
    if progress.seconds["network"] > 1:
        progress.log("network", f"{embedder.backbone.name} made ready, which is kept; {progress.seconds['network']:.1f} s")
    if len(paths) <= FEW:
        return
    each = seconds_an_image(embedder, paths, views, mirror=options.mirror, workers=workers)
    total = seconds_of_fit(images, each * len(paths))
    memory = gigabytes(images, views, sum(network.feature_dim for network in networks))
    progress.log(
        "estimate",
        f"{len(paths)} images x {1 + views} views to embed: about {in_words(total)} in all, {memory:.1f} GB of memory",
    )
    size = max(part.size for part in embedder.backbone.parts)
    others = smaller(options.preset, size, views) if total > LONG else []
    for name, part in others:
        less = seconds_of_fit(images, each * len(paths) * part)
        progress.log("estimate", f"--preset {name} would take about {in_words(less)}")


def seconds_an_image(embedder: Embedder, paths: Sequence[str], views: int, *, mirror: bool, workers: int) -> float:
    """Seconds to decode and embed an image in its 1 + K views, from as many images as a second is enough for.

    What the probe computes is not kept. The networks of ``embedder`` are ready.
    """
    looks = [(part.size, part.interpolation) for part in embedder.backbone.parts]
    start, done = time.monotonic(), 0
    for batch in view_batches(paths, views, looks, batch_size=4, mirror=mirror, values=embedder.backbone.values):
        for run, pixels in zip(embedder.runtimes, batch.views, strict=True):
            run(pixels.flatten(0, 1))
        done += len(batch.faults)
        if time.monotonic() - start >= PROBE:
            break
    return (time.monotonic() - start) / max(1, done)


def seconds_of_fit(images: int, embedded: float) -> float:
    """Seconds of a fit of so many images whose embedding takes ``embedded`` seconds."""
    return embedded + HEADS[0] + HEADS[1] * images


def gigabytes(images: int, views: int, width: int) -> float:
    """Memory at its peak: all views in half precision, and once in single precision."""
    return (RESIDENT + 6 * images * (1 + views) * width) / 1e9
