"""What the work of a fit will take on this machine, told before it begins, from a second of it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from paws.config.options import FitOptions
from paws.fit.presets import smaller
from paws.fit.progress import StepProgress, in_words
from paws.models.embedding import Embedder

PROBE, PROBED = 1.0, 4  # seconds, and images at a time
LONG = 600.0  # seconds from which on a smaller preset is worth mentioning
HEADS = (15.0, 0.002)  # seconds of training and comparing heads: at least, and for each image
FEW = 64  # images that are embedded without an estimate
RESIDENT = 0.7e9  # bytes of the libraries, and of a network with what it computes


def announce(
    progress: StepProgress,
    embedder: Embedder,
    files: Mapping[str, str],
    images: int,
    options: FitOptions,
    views: int,
) -> None:
    """Make the networks ready, and say how long a fit of ``images`` will take of which ``files`` are to be embedded.

    These are paths and the digests of their contents.
    """
    with progress.timed("network"):
        networks = embedder.runtimes
    if progress.seconds["network"] > 1:
        progress.log("network", f"{embedder.backbone.name} made ready, which is kept; {progress.seconds['network']:.1f} s")
    if len(files) <= FEW:
        return
    each = seconds_an_image(embedder, files, views, mirror=options.mirror)
    total = seconds_of_fit(images, each * len(files))
    memory = gigabytes(images, views, sum(network.feature_dim for network in networks))
    progress.log(
        "estimate",
        f"{len(files)} images x {1 + views} views to embed: about {in_words(total)} in all, {memory:.1f} GB of memory",
    )
    size = max(part.size for part in embedder.backbone.parts)
    others = smaller(options.preset, size, views) if total > LONG else []
    for name, part in others:
        less = seconds_of_fit(images, each * len(files) * part)
        progress.log("estimate", f"--preset {name} would take about {in_words(less)}")


def seconds_an_image(embedder: Embedder, files: Mapping[str, str], views: int, *, mirror: bool) -> float:
    """Seconds to decode and embed an image in its 1 + K views, from as many images as a second is enough for.

    Their features are kept as any others. The networks of ``embedder`` are ready.
    """
    start, done, some = time.monotonic(), 0, list(files.items())
    while done < len(some) and time.monotonic() - start < PROBE:
        paths, contents = zip(*some[done : done + PROBED], strict=True)
        done += sum(len(batch.faults) for batch in embedder.batches(paths, views, mirror=mirror, contents=contents))
    return (time.monotonic() - start) / max(1, done)


def seconds_of_fit(images: int, embedded: float) -> float:
    """Seconds of a fit of so many images whose embedding takes ``embedded`` seconds."""
    return embedded + HEADS[0] + HEADS[1] * images


def gigabytes(images: int, views: int, width: int) -> float:
    """Memory at its peak: all views in half precision, and once in single precision."""
    return (RESIDENT + 6 * images * (1 + views) * width) / 1e9
