"""The learner of the page: what it believes of every picture, which ones it asks for next, and which it would confirm in bulk.

Three threads and a process: one thread listens to `paws.label_page.worker`, one makes the votes anew after each label and lets
the process learn when it pays, one chooses the next pictures. Requests read what was published last and never wait for them.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from paws.errors import InputError
from paws.fit import record
from paws.label_page.belief import Belief, Trained, believe
from paws.label_page.measures import Curve, Measures, measure
from paws.label_page.pool import Pool
from paws.label_page.queue import AHEAD, Pick, next_pictures, random_order
from paws.label_page.session import Picture, Session
from paws.label_page.worker import Place, work

PAYS = 0.05  # share of the labels that were learned from, so many of which must have come or changed that learning again pays
GROWN = 1.25  # embedded pictures, over those that are known, from which on they are taken over
PAUSE = 0.5  # seconds between two choices of the next pictures, while enough of the last ones are left
SETTLED = 1.1  # labels, over those that were learned from, up to which the curve gets a point


class Engine:
    """The learner of a ``session``, which ``lock`` guards; ``changed`` is called whenever there is something new to show."""

    def __init__(self, session: Session, place: Place, lock: threading.RLock, changed: Callable[[], None]) -> None:
        self.session, self.place, self.lock, self.changed = session, place, lock, changed
        count = len(session.files)
        self.order = random_order(count)
        self.pool = Pool(place.run / record.FEATURES, count)
        self.belief = Belief(-1, (), torch.zeros(count, 0), torch.zeros(count, dtype=torch.bool))
        self.picks: list[Pick] = []
        self.measures, self.curve = Measures(), Curve(place.run / "label" / "curve.json")
        self.step: tuple[str, int, int] = ("starting", 0, count)
        self.problem = ""  # why nothing is learned
        self.unreadable: dict[int, str] = {}
        self.contents = [""] * count
        self.pairs: list[tuple[int, int, float]] = []
        self._trained: Trained | None = None
        self._asked: dict[int, str] = {}  # labels that are learned from, or were last
        self._waiting, self._seen = False, 0
        self._answers: dict[int, Future[Any]] = {}
        self._wake = threading.Condition()
        self._dirty, self._stopping = True, False
        self._believed: list[Picture] | None = None  # pictures as they are believed of, until the next ones are chosen

    def start(self) -> None:
        """Start the process and the threads."""
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=work, args=(other, self.place), daemon=True)
        self._process.start()
        other.close()  # so that the end of one is noticed by the other
        self._sending = threading.Lock()
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._listen, self._think, self._choose)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and the process."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        with suppress(OSError):
            self._send("stop")
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        for thread in self._threads:
            thread.join(5)

    def wake(self) -> None:
        """The labels changed."""
        with self._wake:
            self._dirty = True
            self._wake.notify_all()

    def ask(self, kind: str, *arguments: Any) -> Future[Any]:
        """Let the process answer; an InputError in the future says what is wrong."""
        answer: Future[Any] = Future()
        if self.problem:
            answer.set_exception(InputError(self.problem))
            return answer
        with self._wake:
            number = len(self._answers) + 1
            self._answers[number] = answer
        self._send(kind, number, *arguments)
        return answer

    def _send(self, *message: Any) -> None:
        with self._sending:
            self._connection.send(message)

    def _listen(self) -> None:
        handlers: dict[str, Callable[..., None]] = {
            "step": self._on_step,
            "inspected": self._on_inspected,
            "gone": lambda rows: self.unreadable.update(dict.fromkeys(rows, "it is not there any more")),
            "opened": self.pool.opened,
            "space": self.pool.fitted,
            "embedded": self._on_embedded,
            "pairs": self._on_pairs,
            "learned": self._on_learned,
            "answer": self._on_answer,
            "failed": self._on_failed,
        }
        while True:
            try:
                name, *arguments = self._connection.recv()
            except (EOFError, OSError):
                if not self._stopping and not self.problem:
                    self._on_failed("the process that learns has ended")
                return
            handlers[name](*arguments)
            self.changed()

    def _on_step(self, what: str, done: int, of: int) -> None:
        self.step = (what, done, of)

    def _on_inspected(self, unreadable: dict[int, str], contents: list[str]) -> None:
        self.unreadable.update(unreadable)
        self.contents = contents

    def _on_embedded(self, done: int, of: int) -> None:
        self.step = ("embedding", done, of) if done < of else ("ready", done, of)
        if done == of or done >= GROWN * self._seen:  # votes on all pictures anew for each batch would cost more than they tell
            self._seen = done
            self.wake()

    def _on_pairs(self, pairs: list[tuple[int, int, float]]) -> None:
        self.pairs = pairs
        self._asked = {}  # what was asked before could not be answered
        self.wake()

    def _on_learned(self, revision: int, found: tuple[Any, ...] | None) -> None:
        self._waiting = False
        if found is not None:
            classes, probabilities, rows, held_out = found
            self._trained = Trained(
                len(self._asked), classes, torch.from_numpy(probabilities), rows.tolist(), torch.from_numpy(held_out)
            )
        self.wake()

    def _on_answer(self, number: int, found: Any, fault: str | None) -> None:
        answer = self._answers[number]
        if fault is None:
            answer.set_result(found)
        else:
            answer.set_exception(InputError(fault))

    def _on_failed(self, why: str) -> None:
        self.problem = why
        for answer in list(self._answers.values()):
            if not answer.done():
                answer.set_exception(InputError(why))

    def _think(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._dirty or self._stopping)
                if self._stopping:
                    return
                self._dirty = False
            self.pool.take_over()
            with self.lock:
                revision, classes = self.session.revision, tuple(self.session.classes)
                labels, pictures = self.session.labelled(), list(self.session.pictures)
            if self.pool.votes is None:
                self.belief = Belief(revision, classes, torch.zeros(len(pictures), len(classes)), self.belief.ready)
            else:
                wanted = self.place.options.accuracy
                self.belief = believe(self.pool.votes, self._trained, revision, classes, pictures, wanted)
            self.measures = measure(self.belief, pictures, self.curve, complete=self._settled(len(labels)))
            self.changed()
            self._train(revision, classes, labels)
            with self._wake:
                self._believed = pictures
                self._wake.notify_all()
            self.curve.save()

    def _choose(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._believed is not None or self._stopping)
                self._wake.wait_for(lambda: self._running_short() or self._stopping, PAUSE)
                if self._stopping:
                    return
                pictures, self._believed = self._believed or [], None
            self.picks = next_pictures(self.belief, pictures, self.pool.embedding, self.order, set(self.unreadable))
            self.changed()

    def _running_short(self) -> bool:
        """Whether fewer than half of the pictures that were chosen are still to be labelled."""
        return sum(self.session.pictures[pick.row].open for pick in self.picks) < AHEAD / 2

    def _settled(self, labels: int) -> bool:
        """Whether all pictures are embedded, and most of the labels were learned from: then points of a curve compare."""
        return self.step[0] == "ready" and self._trained is not None and self._trained.labels >= labels / SETTLED

    def _train(self, revision: int, classes: tuple[str, ...], labels: dict[int, str]) -> None:
        """Let the process learn where there are enough more labels, and the process has nothing of the kind to do."""
        if self._waiting or self.step[0] != "ready":
            return
        changed = sum(self._asked.get(row) != name for row, name in labels.items()) + len(self._asked.keys() - labels.keys())
        used = set(labels.values())
        if len(used) < 2 or changed < max(1, PAYS * len(self._asked)):
            return
        names = tuple(name for name in classes if name in used)
        ids = {name: c for c, name in enumerate(names)}
        known = np.full(len(self.session.files), -1)
        for row, name in labels.items():
            if row not in self.unreadable:
                known[row] = ids[name]
        self._asked, self._waiting = labels, True
        self._send("learn", revision, known, names)
