"""What `paws label` computes for a key, in CPU time: `python -m benchmarks.label_key [--pictures 10000]`.

In one process, without a browser and without the process that learns, so that a busy machine changes little: CPU-milliseconds
of the answer to a key (the journal with its fsync, the state as JSON), and of what follows it in the background (votes on all
pictures with the figures, the choice of the next pictures) or is asked for by Confirm (a sheet).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.side_by_side import Figure, finish
from paws.classifiers.space import fit_space
from paws.config.options import FitOptions
from paws.label_page.belief import believe
from paws.label_page.bench import Bench
from paws.label_page.measures import measure
from paws.label_page.queue import next_pictures
from paws.label_page.votes import Votes
from paws.label_page.worker import Place

CLASSES, LABELS, DIM, TIMES = 20, 300, 256, 30


class Key:
    """A workbench with ``count`` pictures, whose features are random, and `LABELS` labels."""

    def __init__(self, folder: Path, count: int) -> None:
        (folder / "run/label").mkdir(parents=True)
        names = tuple(f"{number:06d}.png" for number in range(count))
        self.bench, self.done = Bench(Place(folder / "images", folder / "run", names, FitOptions())), 0
        draw = torch.Generator().manual_seed(0)
        features = torch.randn(count, DIM, generator=draw)
        pool = self.bench.engine.pool
        space = fit_space(features[:, None].numpy(), DIM)
        pool.fitted(*(part.numpy() for part in vars(space).values()))
        self.votes = pool.votes = Votes(count, space.variances)
        self.votes.put(torch.arange(count), features)
        for _ in range(LABELS):
            self.mark()
        self.vote()
        self.choose()

    def mark(self) -> None:
        """The next picture gets a class."""
        self.bench.mark([(self.done, "label", f"class {self.done % CLASSES}")], "chosen", f"action {self.done:06}")
        self.done += 1

    def answer(self) -> None:
        """What the page waits for."""
        self.mark()
        json.dumps(self.bench.state())

    def vote(self) -> None:
        """Votes and figures with every label of now."""
        session, engine = self.bench.session, self.bench.engine
        pictures = list(session.pictures)
        engine.belief = believe(self.votes, None, session.revision, tuple(session.classes), pictures, 0.95)
        engine.measures = measure(engine.belief, pictures, engine.curve, complete=True)

    def choose(self) -> None:
        """The next pictures."""
        engine, pictures = self.bench.engine, list(self.bench.session.pictures)
        engine.picks = next_pictures(engine.belief, pictures, engine.pool.embedding, engine.order, set())


def milliseconds(what: Callable[[], object], before: Callable[[], object] = lambda: None, times: int = TIMES) -> float:
    """CPU time of a call in the mean, that of ``before``, which goes before each, left out."""
    taken = 0.0
    for _ in range(times):
        before()
        began = time.process_time()
        what()
        taken += time.process_time() - began
    return 1000 * taken / times


def main() -> None:
    """Print the times and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        key = Key(Path(folder), options.pictures)
        found = {
            "the answer to a key": milliseconds(key.answer),
            "votes on all pictures, and the figures": milliseconds(key.vote, key.mark),
            "the choice of the next pictures": milliseconds(key.choose, times=5),
            "a sheet for Confirm": milliseconds(key.bench.sheet, key.mark, times=10),
        }
    for what, taken in found.items():
        print(f"{what}: {taken:.2f} ms")
    finish(
        *(
            Figure(f"CPU-milliseconds, {what}, {options.pictures} pictures", round(t, 2), None, False)
            for what, t in found.items()
        )
    )


if __name__ == "__main__":
    main()
