"""The workbench of a session: pictures, journal and learner, behind one lock, with what the page shows of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from paws.errors import InputError
from paws.label_page import formats, lists
from paws.label_page.belief import up_to_date
from paws.label_page.engine import Engine
from paws.label_page.journal import Journal
from paws.label_page.keys import keys_of
from paws.label_page.labels_file import LabelsFile
from paws.label_page.queue import sheet
from paws.label_page.session import Kind, Session
from paws.label_page.worker import Place
from paws.report import label_work
from paws.runs.files import write_bytes

FOLDER, JOURNAL, LABELS = label_work.PAGE, "journal.jsonl", "labels.csv"  # in the folder of the run
SHOWN = 12  # pictures ahead that the page knows of
SHEET = 60  # pictures to read in order
NAMED = 5  # pictures that cannot be read, by name


class Bench:
    """A session at work. ``changed`` is called, from any thread, whenever the page may show something new."""

    def __init__(self, place: Place, changed: Callable[[], None] = lambda: None) -> None:
        self.place, self.changed = place, changed
        self.folder = place.run / FOLDER
        self.lock = threading.RLock()
        self.session = Session(place.files, Journal(self.folder / JOURNAL))
        self.engine = Engine(self.session, place, self.lock, lambda: self.changed())
        self.labels = LabelsFile(place.run / LABELS, place.images, self.session, self.lock, lambda: self.changed())
        self.job: dict[str, Any] | None = None  # what is being finished, or was last

    def start(self) -> None:
        """Start the learner, and write labels.csv as the journal has it."""
        self.labels.start()
        self.engine.start()

    def stop(self) -> None:
        """End the learner; labels.csv is as the journal."""
        self.engine.stop()
        self.labels.stop()
        self.session.journal.close()

    def mark(self, marks: Sequence[tuple[int, Kind, str | None]], how: str, id: str, revision: int | None = None) -> bool:
        """`Session.mark`; when it returns it is on the disk. Nobody is told of it, or of the actions below, before `spread`."""
        with self.lock:
            return self.session.mark(marks, how, id, revision)

    def add_class(self, name: str, id: str) -> None:
        """`Session.add_class`."""
        with self.lock:
            self.session.add_class(name, id)

    def rename_class(self, name: str, to: str, id: str) -> None:
        """`Session.rename_class`."""
        with self.lock:
            self.session.rename_class(name, to, id)

    def undo(self, id: str, revision: int | None) -> bool:
        """`Session.undo`."""
        with self.lock:
            return self.session.undo(id, revision)

    def take(self, labels: dict[str, str], id: str) -> int:
        """Labels from elsewhere, by file, as one action; returns how many are new or others than before."""
        with self.lock:
            known = self.session.pictures
            marks: list[tuple[int, Kind, str | None]] = [
                (row, "label", label)
                for file, label in labels.items()
                if known[row := self.session.row_of[file]].label != label
            ]
            if marks:
                self.session.mark(marks, "import", id)
        return len(marks)

    def spread(self) -> None:
        """Let labels.csv and the learner, and through it every page, follow what was done."""
        self.labels.stale()
        self.engine.wake()

    def gone(self, row: int, why: str) -> None:
        """A picture cannot be read any more: it is not asked for."""
        if row not in self.engine.unreadable:
            self.engine.unreadable[row] = why
            self.engine.wake()

    def state(self) -> dict[str, Any]:
        """What the page shows all the time."""
        with self.lock:
            session, engine = self.session, self.engine
            counts, keys = session.counts(), keys_of(session.classes)
            return {
                "revision": session.revision,
                "undoable": session.undoable,
                "total": len(session.files),
                "labelled": session.labelled_count,
                "none": session.none_count,
                "classes": [{"name": name, "count": counts[name], "key": keys[name]} for name in session.classes],
                "next": [self.item(row, reason, how) for row, reason, how in self._next()],
                "measures": asdict(engine.measures),
                "curve": engine.curve.points[-200:],
                "step": engine.step,
                "believed": engine.belief.revision,
                "problem": engine.problem or self.labels.fault,
                "unreadable": len(engine.unreadable),
                "faults": [[session.files[row], why] for row, why in list(engine.unreadable.items())[:NAMED]],
                "missing": len(session.missing),
                "job": self.job,
                "accuracy": self.place.options.accuracy,
                "folder": str(self.place.images),
                "run": str(self.place.run),
            }

    def item(self, row: int, reason: str = "", how: str = "other") -> dict[str, Any]:
        """One picture as the page knows it."""
        belief, picture = self.engine.belief, self.session.pictures[row]
        guess = lists.top_classes(belief.probabilities[row].tolist(), belief.classes, 3) if bool(belief.ready[row]) else []
        return {
            "row": row,
            "name": self.session.files[row],
            "label": picture.label,
            "none": picture.none,
            "guess": guess if belief.held_out else [],
            "reason": reason,
            "how": how,
        }

    def _next(self) -> list[tuple[int, str, str]]:
        pictures, unreadable = self.session.pictures, self.engine.unreadable
        found = {p.row: (p.reason, p.how) for p in self.engine.picks if pictures[p.row].open and p.row not in unreadable}
        fresh = {row: why for row, why in found.items() if not pictures[row].skipped}
        for row in self.engine.order:
            if len(fresh) >= SHOWN:
                break
            if pictures[row].open and not pictures[row].skipped and row not in unreadable:
                fresh.setdefault(row, ("the next one", "chosen"))
        found = fresh | {row: why for row, why in found.items() if row not in fresh}
        if not found:  # only pictures that were skipped
            left = [row for row in self.engine.order if pictures[row].open and row not in unreadable]
            found = dict.fromkeys(sorted(left, key=lambda row: pictures[row].skipped), ("skipped before", "chosen"))
        return [(row, *why) for row, why in list(found.items())[:SHOWN]]

    def sheet(self, wanted: str | None = None) -> dict[str, Any] | None:
        """Guesses to read in order, the surest first, with every label of now in them; None where there are none."""
        with self.lock:
            pictures = list(self.session.pictures)
        belief, votes, unreadable = self.engine.belief, self.engine.pool.votes, set(self.engine.unreadable)
        if votes is None:
            return None
        now = up_to_date(belief, votes, pictures)
        found = sheet(now, pictures, self.place.options.accuracy, SHEET, wanted, unreadable)
        if found is None:
            return None
        told = zip(found.rows, found.labels, found.probabilities, strict=True)
        return {
            "sure": found.sure,
            "waiting": found.waiting,
            "wrong": found.expected_wrong,
            "items": [{**self.item(row), "as": label, "p": round(p, 4)} for row, label, p in told],
        }

    def again(self) -> dict[str, Any]:
        """The lists for a second look."""
        with self.lock:
            pictures = list(self.session.pictures)
        doubtful, copies = lists.doubtful(self.engine, pictures), lists.copies(self.engine, pictures)
        return {
            "doubtful": [{**self.item(found["row"]), **found} for found in doubtful],
            "copies": [{**pair, "items": [self.item(row) for row in pair["rows"]]} for pair in copies],
        }

    def look(self, row: int) -> dict[str, Any]:
        """One picture with its neighbours."""
        with self.lock:
            pictures = list(self.session.pictures)
        found = lists.look(self.engine, row, pictures)
        voters = [{**self.item(voter["row"]), **voter} for voter in found["voters"]]
        return {**self.item(row), **found, "voters": voters, "same": [self.item(other) for other in found["same"]]}

    def try_picture(self, data: bytes) -> dict[str, Any]:
        """What would be said of a picture that is not of the folder. Raises InputError where it cannot be read."""
        path = self.folder / "tried"
        write_bytes(path, data)
        try:
            features, learned = self.engine.ask("try", path).result()
        except InputError as error:
            raise InputError(str(error).replace(str(path), "this picture")) from None
        votes, belief = self.engine.pool.votes, self.engine.belief
        if votes is None or len(belief.classes) < 2 or not votes.labels:
            raise InputError("label pictures of two classes first")
        vote, near = votes.of(self.engine.pool.points(features))
        probabilities = vote if learned is None or len(learned) != len(vote) else torch.from_numpy(learned)
        with self.lock:
            pictures = list(self.session.pictures)
        voters = [{**self.item(v["row"]), **v} for v in lists.voters(near, pictures)]
        return {"vote": lists.top_classes(probabilities.tolist(), belief.classes), "voters": voters}

    def finish(self, what: str) -> Future[Any]:
        """Make ``what``, one of `paws.label_page.finish.WHAT`, in the background; `job` tells how it goes."""
        self.labels.write()
        self.job = {"what": what, "state": "running", "text": ""}
        with self.lock:
            none = [file for file, p in zip(self.session.files, self.session.pictures, strict=True) if p.none]
        answer = self.engine.ask("finish", what, self.place.run / LABELS, {"none": none})
        answer.add_done_callback(self._finished)
        return answer

    def _finished(self, answer: Future[Any]) -> None:
        error = answer.exception()
        state, text = ("done", str(answer.result())) if error is None else ("failed", str(error))
        self.job = {**(self.job or {}), "state": state, "text": text}
        self.changed()

    def export_label_studio(self) -> Path:
        """Write the tasks for Label Studio, labels and guesses, into the run; returns where they are."""
        with self.lock:
            labels, belief = self.session.labelled(), self.engine.belief
            classes = list(self.session.classes)
        return formats.write_label_studio(self.place.run, self.session.files, labels, belief.guesses(), classes)
