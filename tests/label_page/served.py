"""`paws label` as a process of its own, and what tests ask it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import TINY

PATIENCE = 120.0  # seconds on a busy machine


def wait_for(what: Callable[[], Any], why: str) -> Any:
    """Ask again until there is an answer that counts."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE:.0f} s for {why}")


class Served:
    """A running server: ``address`` opens the page, ``home`` is where it is.

    Without ``weights`` the network that comes along embeds.
    """

    def __init__(self, folder: Path, weights: Path | None, *more: str) -> None:
        network = [] if weights is None else ["--backbone", TINY, "--weights", str(weights), "--image-size", "32"]
        where = ["label", str(folder / "images"), "-o", str(folder / "run"), "--no-browser"]
        command = [sys.executable, "-m", "paws", *where, "--device", "cpu", *network, *more]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://\S+", line):
                self.address = found.group()
                break
        else:
            raise AssertionError("the server did not start")
        self.home, self.token = self.address.split("/?token=")
        self.cookie = f"paws_label_{self.home.rpartition(':')[2]}={self.token}"

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a request as the page makes it."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.home}{path}", data, {"Cookie": self.cookie, "Origin": self.home})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]

    def mark(self, row: int, name: str, id: str) -> dict[str, Any]:
        """Label one picture."""
        return self.ask("/mark", {"id": id, "how": "chosen", "marks": [[row, "label", name]]})

    def interrupt(self) -> str:
        """End it as Ctrl-C does; returns what it printed after its address."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        printed = self.process.stdout.read()
        assert self.process.wait(PATIENCE) == 0, printed
        return printed

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it, and close what is left."""
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def served(folder: Path, weights: Path | None, *more: str) -> Iterator[Served]:
    """A server that ends with the block."""
    server = Served(folder, weights, *more)
    try:
        yield server
    finally:
        server.end()


def reached(error: Exception) -> bool:
    """Whether an error of a request means that the server has ended."""
    return isinstance(error, urllib.error.URLError | http.client.HTTPException | ConnectionError | OSError | ValueError)
