"""labels.csv of a session: always a file that `paws fit --labels` takes."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

from paws.bundle.table import write_rows
from paws.data.labelled_folder import match_rows
from paws.data.labels import read_labels
from paws.errors import InputError
from paws.label_page.session import Session
from paws.runs.files import write_text

PAUSE = 0.5  # seconds between two times that it is written, at least


class LabelsFile:
    """The labels of a ``session``, which ``lock`` guards, in a file at ``path``, written by a thread when they are `stale`.

    ``fault`` says why it could not be written; ``told`` is called when that changes. What is in it goes by its digest: a file
    that somebody else wrote or edited is not replaced, unless its labels were taken over (``taken``) before.
    """

    def __init__(self, path: Path, images: Path, session: Session, lock: threading.RLock, told: Callable[[], None]) -> None:
        self.path, self.images, self.session, self.lock, self.told = path, images, session, lock, told
        self.fault, self.taken = "", False
        self._digests = session.journal.path.with_name("labels.sha256")  # of what was written last, and before that
        self._written, self._stopping = -1, False
        self._stale, self._writing = threading.Condition(), threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Write it as the journal has it, and again when that changes."""
        self.write()
        self._thread.start()

    def stop(self) -> None:
        """Write it for the last time."""
        with self._stale:
            self._stopping = True
            self._stale.notify_all()
        self._thread.join()
        self.write()

    def stale(self) -> None:
        """The labels changed."""
        with self._stale:
            self._stale.notify_all()

    def write(self) -> None:
        """The labels of now, without pictures that are not there; no file where there is no label.

        Raises:
            InputError: it cannot be written, or is of somebody else.
        """
        with self._writing:
            with self.lock:
                revision, labels = self.session.revision, self.session.labelled()
            rows = [{"file": self.session.files[row], "label": label} for row, label in sorted(labels.items())]
            rows = [row for row in rows if os.path.isfile(self.images / row["file"])]
            there = self._digest()
            if there and there not in self._known() and not self._holds_no_more_than(labels):
                raise InputError(
                    f"{self.path} was written or edited by somebody else, and would be replaced: its labels are taken over by "
                    f"--labels {self.path}; or move it away"
                )
            if not rows:
                self.path.unlink(missing_ok=True)
            else:
                text = io.StringIO()
                write_rows(text, rows, ("file", "label"))
                new = _digest_of(text.getvalue().encode("utf-8", "surrogateescape"))
                if new != there or new not in self._known():
                    write_text(self._digests, f"{there}\n{new}\n")  # first: it may be killed between the two
                    write_text(self.path, text.getvalue())
            self._written, self.taken = revision, False

    def _digest(self) -> str:
        """Of the file that is there; "" where none is."""
        try:
            return _digest_of(self.path.read_bytes())
        except OSError:
            return ""

    def _known(self) -> list[str]:
        return self._digests.read_text("utf-8").split() if self._digests.is_file() else []

    def _holds_no_more_than(self, labels: dict[int, str]) -> bool:
        """Whether a file of somebody else may be replaced: all its labels are in the session, into which they were taken."""
        if self._digests.is_file() and not self.taken:
            return False
        try:
            found, problems = match_rows(self.images, self.session.files, read_labels(self.path))
        except InputError:
            return False
        return not problems and found.items() <= {self.session.files[row]: label for row, label in labels.items()}.items()

    def _run(self) -> None:
        while True:
            with self._stale:
                self._stale.wait_for(lambda: self._stopping or self._written != self.session.revision)
                if self._stopping:
                    return
            try:
                self.write()
                fault = ""
            except InputError as error:
                fault, self._written = str(error), self.session.revision
            if fault != self.fault:
                self.fault = fault
                self.told()
            with self._stale:
                self._stale.wait_for(lambda: self._stopping, PAUSE)


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
