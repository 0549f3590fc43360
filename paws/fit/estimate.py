"""What the work of a fit will take on this machine, told before it begins, from a second of it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from paws.config.options import FitOptions
from paws.data.texts import counted
from paws.fit.presets import smaller
from paws.fit.progress import StepProgress, in_words
from paws.models.embedding import Embedder

PROBE, PROBED = 1.0, 4  # seconds, on a busy machine of the processor too, and images at a time
LONG = 600.0  # seconds from which on a smaller preset is worth mentioning
HEADS = (2.3, 0.00045)  # seconds on a core of training and comparing heads, and of the tables: at least, and for each image
LOOK = 0.1  # seconds of the processor in which it is seen how much of a core there is
PATIENCE = 10  # times as long that either may take beside others
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
    with progress.timed("embed"):
        each = seconds_an_image(embedder, files, views, mirror=options.mirror)
    busy = 1 / share_of_core()
    total = seconds_of_fit(images, each * len(files), busy)
    until = "until encoders are trained" if options.train else "in all"
    memory = gigabytes(images, views, sum(network.feature_dim for network in networks))
    progress.log(
        "estimate",
        f"{counted(len(files), 'image')} x {1 + views} views to embed: "
        f"about {in_words(total)} {until}, {memory:.1f} GB of memory",
    )
    size = max(part.size for part in embedder.backbone.parts)
    others = smaller(options.preset, size, views) if total > LONG else []
    for name, part in others:
        less = seconds_of_fit(images, each * len(files) * part, busy)
        progress.log("estimate", f"--preset {name} would take about {in_words(less)}")


def seconds_an_image(embedder: Embedder, files: Mapping[str, str], views: int, *, mirror: bool) -> float:
    """Seconds to decode and embed an image in its 1 + K views, from as many images as a second is enough for.

    Their features are kept as any others. The networks of ``embedder`` are ready.
    """
    start, worked, done, some = time.monotonic(), time.process_time(), 0, list(files.items())
    while done < len(some) and _goes_on(time.monotonic() - start, time.process_time() - worked, PROBE):
        paths, contents = zip(*some[done : done + PROBED], strict=True)
        done += sum(len(batch.faults) for batch in embedder.batches(paths, views, mirror=mirror, contents=contents))
    return (time.monotonic() - start) / max(1, done)


def share_of_core() -> float:
    """The share of a core that this process gets beside others, in (0, 1]."""
    start, worked = time.monotonic(), time.thread_time()
    while _goes_on(lasted := time.monotonic() - start, busy := time.thread_time() - worked, LOOK):
        pass
    return min(1.0, busy / lasted) or 1.0


def _goes_on(lasted: float, worked: float, seconds: float) -> bool:
    """Whether something of so many ``seconds`` has not ``lasted`` or ``worked`` as long."""
    return lasted < seconds or (worked < seconds and lasted < PATIENCE * seconds)


def seconds_of_fit(images: int, embedded: float, busy: float) -> float:
    """Seconds of a fit of so many images whose embedding takes ``embedded`` seconds, on a machine that is ``busy`` times slower
    than a quiet one."""
    return embedded + busy * (HEADS[0] + HEADS[1] * images)


def gigabytes(images: int, views: int, width: int) -> float:
    """Memory at its peak: all views in half precision, and once in single precision."""
    return (RESIDENT + 6 * images * (1 + views) * width) / 1e9
