"""A process of its own for what takes long: decoding, embedding, training, writing. The page is never blocked by it.

It is told what to do, and tells what it found, by tuples through a pipe; when the other end is gone, it ends.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paws.classifiers.space import Space
from paws.config.options import FitOptions
from paws.config.threads import default_workers
from paws.data.check import check_images, remember
from paws.data.copies import copy_groups
from paws.data.folder import FileSet
from paws.errors import InputError
from paws.fit import record
from paws.fit.embed import FeatureStore
from paws.fit.feature_file import read_store
from paws.models.joined import Backbone
from paws.runs.lock import run_lock

FIRST = 256  # embedded pictures from which the space is fitted for the first time, and again at each doubling
SPACE = 4096  # of them, at most, that it is fitted to meanwhile
RETRIES = 20  # pictures, or groups of them, that may disappear while they are embedded


@dataclass(frozen=True)
class Place:
    """Where the pictures are, where the run is written, and how."""

    images: Path
    run: Path
    files: tuple[str, ...]
    options: FitOptions
    device: str = "cpu"


class Stopped(Exception):
    """The page is gone."""


def work(connection: Connection, place: Place) -> None:
    """Embed the folder, then do what is asked for until the connection ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page, which ends this process
    os.nice(10)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    try:
        Worker(connection, place).run()
    except (Stopped, EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # told on the page; it goes on with the labels alone
        if not isinstance(error, InputError):
            traceback.print_exc(file=sys.stderr)
        connection.send(("failed", str(error) or type(error).__name__))


class Worker:
    """The state of the process."""

    def __init__(self, connection: Connection, place: Place) -> None:
        self.connection, self.place = connection, place
        self.learner: Any = None
        self.embedder: Any = None
        self.rows: np.ndarray = np.arange(0)  # of the pictures that can be read, in all of them
        self.options = place.options  # with nothing left open once the folder is known

    def run(self) -> None:
        """Embed, learn, and answer."""
        from paws.fit.presets import backbone_of, plan
        from paws.models.embedding import Embedder

        files, contents, values = self._inspect()
        self.options = plan(self.place.options, files.paths, device=self.place.device).options
        frozen = backbone_of(self.options).with_values(values)
        self.embedder = Embedder(frozen, self.place.device)
        features = self._embed(files, contents, frozen)
        self._ready(features, [contents[self.place.files[row]] for row in self.rows])
        while True:
            self._serve(block=True)

    def _inspect(self) -> tuple[FileSet, dict[str, str], Any]:
        """Decode every picture once, as a fit does, and keep what that told for it.

        Returns the pictures that can be read, the digest of each by name, and what is black and white in them.
        """
        known = self.place.run / record.CHECKED
        checked = check_images(
            self.place.images,
            known=[known],
            workers=default_workers(),
            advance=lambda percent: self._step("reading", percent / 100 * len(self.place.files)),
        )
        remember(known, checked)
        row_of = {name: row for row, name in enumerate(self.place.files)}
        contents = {name: found.content for name, found in zip(checked.listing.images, checked.inspected, strict=True)}
        self.connection.send(
            (
                "inspected",
                {row_of[name]: fault for name, fault in checked.unreadable.items() if name in row_of},
                [contents.get(name, "") for name in self.place.files],
            )
        )
        kept = [i for i, name in enumerate(checked.files.names) if name in row_of]
        return checked.files.select(torch.tensor(kept, dtype=torch.int64)), contents, checked.values

    def _embed(self, files: FileSet, contents: dict[str, str], frozen: Backbone) -> np.ndarray:
        """Embed what is missing, telling of the pictures as they come; one that disappears is left out and told."""
        row_of = {name: row for row, name in enumerate(self.place.files)}
        for attempt in range(RETRIES):
            there = [os.path.isfile(path) for path in files.paths]
            gone = [row_of[name] for name, is_there in zip(files.names, there, strict=True) if not is_there]
            if gone:
                self.connection.send(("gone", gone))
                files = files.select(torch.tensor(there).nonzero().flatten())
            self.rows = np.array([row_of[name] for name in files.names])
            try:
                with run_lock(self.place.run):
                    store = FeatureStore(
                        self.place.run / record.FEATURES,
                        files,
                        [contents[name] for name in files.names],
                        frozen,
                        self.options.views or 0,
                        mirror=self.options.mirror,
                    )
                    self.connection.send(("opened", self.rows))
                    advance = self._Advance(self, len(files) - store.missing, len(files))
                    advance(0)
                    return store.fill(self.embedder, workers=default_workers(), advance=advance)
            except InputError:
                if attempt == RETRIES - 1 or all(os.path.isfile(path) for path in files.paths):
                    raise
        raise AssertionError("the last attempt returns or raises")

    class _Advance:
        """Told of every batch that is embedded: passes it on, and answers what was asked meanwhile."""

        def __init__(self, worker: Worker, done: int, of: int) -> None:
            self.worker, self.done, self.of, self.fitted = worker, done, of, 0

        def __call__(self, count: int) -> None:
            self.done += count
            worker = self.worker
            if self.done >= min(self.of, max(FIRST, 2 * self.fitted)) and self.done > self.fitted:
                self.fitted = self.done
                worker.space()
            worker.connection.send(("embedded", self.done, self.of))
            worker._serve(block=False)

    def space(self) -> None:
        """Fit the space on what is embedded so far, and tell it."""
        from paws.classifiers.space import fit_space
        from paws.fit.fit import WIDTH

        found = read_store(self.place.run / record.FEATURES)
        assert found is not None
        _, rows, stored = found
        done = np.flatnonzero(rows["checksum"])
        some = done if len(done) <= SPACE else np.sort(np.random.default_rng(0).choice(done, SPACE, replace=False))
        self._tell_space(fit_space(torch.from_numpy(np.array(stored[some, :1])), WIDTH))

    def _tell_space(self, space: Space) -> None:
        self.connection.send(("space", *(getattr(space, part.name).numpy() for part in fields(space))))

    def _ready(self, views: np.ndarray, contents: Sequence[str]) -> None:
        """All pictures are embedded: their ``views`` (N, V, D), and the digest of each file."""
        from paws.label_page.learner import Learner

        if len(views) < 2:
            return
        self.learner = Learner(views, self.options, groups=copy_groups(contents), device=self.place.device)
        self._tell_space(self.learner.space)
        pairs = [(int(self.rows[a]), int(self.rows[b]), s) for a, b, s in self.learner.pairs()]
        self.connection.send(("pairs", pairs))

    def _serve(self, *, block: bool) -> None:
        """Answer the questions that wait; of several to learn only the last."""
        waiting: list[tuple[Any, ...]] = []
        while self.connection.poll(None if block and not waiting else 0):
            waiting.append(self.connection.recv())
        last = max((i for i, question in enumerate(waiting) if question[0] == "learn"), default=-1)
        for i, question in enumerate(waiting):
            if question[0] == "learn":
                if i == last:
                    self._learn(*question[1:])
            elif question[0] == "stop":
                raise Stopped
            else:
                self._answer(question)

    def _learn(self, revision: int, labels: np.ndarray, classes: tuple[str, ...]) -> None:
        """Fit to labels (N,) of all pictures, -1 where unknown."""
        if self.learner is None:
            self.connection.send(("learned", revision, None))
            return
        found = self.learner.learn(torch.from_numpy(labels[self.rows]).long(), classes)
        probabilities = np.zeros((len(labels), len(classes)), np.float32)
        probabilities[self.rows] = found.probabilities.numpy()
        rows = self.rows[found.rows.numpy()]
        self.connection.send(("learned", revision, (classes, probabilities, rows, found.held_out.numpy())))

    def _answer(self, question: tuple[Any, ...]) -> None:
        kind, number, *arguments = question
        answers: dict[str, Callable[..., Any]] = {"try": self._try, "finish": self._finish}
        try:
            self.connection.send(("answer", number, answers[kind](*arguments), None))
        except InputError as error:
            self.connection.send(("answer", number, None, str(error)))
        except (Stopped, EOFError, OSError):
            raise
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self.connection.send(("answer", number, None, f"this went wrong: {error or type(error).__name__}"))

    def _try(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """Features (D,) of a picture that was dropped on the page, and probabilities (C,) where anything was learned."""
        features = self.embedder.features([path])[0, 0]
        found = None if self.learner is None else self.learner.predict(features)
        return features.numpy(), None if found is None else found.numpy()

    def _finish(self, what: str, labels: Path, arguments: dict[str, Any]) -> str:
        from paws.label_page.finish import finish

        options = replace(self.options, skip_broken=True)
        return finish(what, self.place.images, labels, self.place.run, options, self.place.device, **arguments)

    def _step(self, what: str, done: float) -> None:
        self.connection.send(("step", what, int(done), len(self.place.files)))
