"""The pictures that are embedded so far, as the vote and the choice of the next ones compare them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paws.classifiers.space import Space
from paws.errors import InputError
from paws.fit.feature_file import read_store
from paws.label_page.votes import Votes

CHOSEN_BY = 64  # components by which the next pictures are chosen
CHUNK = 4096  # pictures taken over at a time


class Pool:
    """``count`` pictures whose features a process leaves at ``path``, and in the end a space for them.

    One thread is told of both by `opened` and `fitted`, another one takes over what there is.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self.votes: Votes | None = None
        self._space: Space | None = None
        self._rows: np.ndarray | None = None  # the picture of each row of the stored features
        self._lock, self._other = threading.Lock(), False

    def opened(self, rows: np.ndarray) -> None:
        """Features are stored from now on for the pictures ``rows``."""
        with self._lock:
            self._rows, self._other = rows, True

    def fitted(self, *parts: np.ndarray) -> None:
        """The ``parts`` of another space than before."""
        with self._lock:
            self._space, self._other = Space(*map(torch.from_numpy, parts)), True

    def take_over(self) -> None:
        """Bring the votes up to what was embedded since the last time; to all of it where the space is another one."""
        with self._lock:
            space, rows, other, self._other = self._space, self._rows, self._other, False
        if space is None or rows is None:
            return
        found = read_store(self.path)
        assert found is not None, "the process has told of it"
        done, features = found[1]["checksum"] != 0, found[2]  # (N,), (N, 1 + K, D)
        if len(done) != len(rows):
            return
        if self.votes is None or other:
            former, self.votes = self.votes, Votes(self.count, space.variances)
            if former is not None:
                self.votes.set_labels(former.labels, former.sums.shape[1])
        there = torch.from_numpy(rows)
        new = np.flatnonzero(done & ~self.votes.ready[there].numpy())
        for start in range(0, len(new), CHUNK):
            part = new[start : start + CHUNK]
            self.votes.put(there[part], space.points(torch.from_numpy(np.array(features[part, 0])).float()))

    def points(self, features: np.ndarray) -> Tensor:
        """Features (..., D) as the vote compares them (..., P). Raises InputError where nothing is embedded yet."""
        if self._space is None:
            raise InputError("the pictures are not embedded yet; wait a moment")
        return self._space.points(torch.from_numpy(features).float())

    def embedding(self, rows: Tensor) -> Tensor:
        """(M, P) of pictures: what the choice of the next ones compares."""
        assert self.votes is not None
        return self.votes.half_whitened(rows, CHOSEN_BY)
