"""How fast `paws label` is with many pictures, in a real Chromium: `python -m benchmarks.label_page [--pictures 10000]`.

A folder of small pictures in twenty classes is labelled by key presses of the browser while the process that learns is at work.

* milliseconds from a key press until the next picture is decoded and in the page (95th percentile)
* milliseconds from a label until the votes of all pictures have it, over HTTP (95th percentile)
* the most memory of all its processes (proportional set size, so that shared pages count once)

``--random``: the features are random vectors around a centre of each class and not those of the network, which for 100,000
pictures would take an hour. Chromium, chromedriver and the extra ``browser`` are needed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.side_by_side import Figure, finish
from paws.config.options import FitOptions
from paws.data.check import check_images, remember
from paws.fit import record
from paws.fit.embed import FeatureStore
from paws.fit.presets import backbone_of, plan
from paws.runs.folder import claim
from tests.browser.chrome import chromium

CLASSES, SIDE = 20, 32
KEYS_OF_CLASSES = "123456789abcdefhijklmopqrst"
KEYS, LABELS = 80, 40  # pressed one after the other, and labels over HTTP
BARS = {10_000: (50, 300, 2.0)}  # pictures: milliseconds, milliseconds, GB

LISTEN = """
window.taken = [];
window.waiting = () => {};
let pressed = 0;
addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
new MutationObserver(async () => {
  const image = document.querySelector("#pictures img");
  if (!image || !pressed) return;
  const began = pressed;
  pressed = 0;
  await image.decode();
  window.taken.push(performance.now() - began);
  window.waiting();
}).observe(document.querySelector("#pictures"), { childList: true });
"""
NEXT = """
const [number, done] = arguments;
const name = () => done(document.querySelector("#about .file").textContent);
if (window.taken.length >= number) name(); else window.waiting = name;
"""
ANSWERS = (
    "return performance.getEntriesByType('resource').filter(({name}) => name.endsWith('/mark')).map((each) => each.duration)"
)


def draw(folder: Path, count: int) -> None:
    """Pictures of blots, the class of each in its number modulo ``CLASSES``."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (CLASSES, 4, 4, 3))
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = patterns[number % CLASSES] + random.integers(-60, 60, (4, 4, 3))
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:06d}.png", compress_level=1)


class Random:
    """In place of the network: vectors around a centre of each class."""

    name = "random"

    def __init__(self, dim: int) -> None:
        self.draws = torch.Generator().manual_seed(0)
        self.centres = torch.randn(CLASSES, dim, generator=self.draws)

    def batches(self, paths: list[str], views: int, *, batch_size: int, contents: list[str], **how: Any) -> Iterator[Any]:
        """As `paws.models.embedding.Embedder.batches`."""
        for start in range(0, len(paths), batch_size):
            numbers = torch.tensor([int(Path(path).stem) for path in paths[start : start + batch_size]])
            centres = self.centres[numbers % CLASSES]
            found = centres + 1.5 * torch.randn(centres.shape, generator=self.draws)
            yield found[:, None], [None] * len(numbers), contents[start : start + batch_size]


def embed_at_random(images: Path, run: Path) -> None:
    """Leave what the process that learns would have embedded."""
    run.mkdir(parents=True)
    claim(run, "fit")
    checked = check_images(images, workers=1)
    remember(run / record.CHECKED, checked)
    options = plan(FitOptions(views=0), checked.files.paths).options
    frozen = backbone_of(options).with_values(checked.values)
    store = FeatureStore(run / record.FEATURES, checked.files, checked.contents, frozen, 0, mirror=options.mirror)
    store.fill(Random(frozen.feature_dim))  # type: ignore[arg-type]


class Server:
    """`paws label` as a process, and the memory of it and its children."""

    def __init__(self, images: Path, run: Path) -> None:
        command = [sys.executable, "-m", "paws", "label", str(images), "-o", str(run), "--no-browser", "--device", "cpu"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = next(found.group() for line in self.process.stdout if (found := re.search(r"http://\S+", line)))
        self.home, self.token = self.address.split("/?token=")
        self.connection = http.client.HTTPConnection(self.home.removeprefix("http://"), timeout=120)
        self.memory, self._ended = 0.0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a request as the page makes it."""
        port = self.home.rpartition(":")[2]
        headers = {"Cookie": f"paws_label_{port}={self.token}", "Origin": self.home}
        self.connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        return json.loads(self.connection.getresponse().read())  # type: ignore[no-any-return]

    def wait(self, what: str) -> dict[str, Any]:
        """Follow the state until the learner is at ``what``."""
        state = self.ask("/state")
        while state["step"][0] != what:
            state = self.ask(f"/state?after={state['version']}")
        return state

    def end(self) -> None:
        """As Ctrl-C does."""
        self._ended.set()
        self.process.terminate()
        self.process.wait()

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self.memory = max(self.memory, sum(map(_pss, _tree(self.process.pid))) / 1e9)


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        threads = [
            Path(f"/proc/{pid}/task/{t}/children").read_text(encoding="ascii").split() for t in os.listdir(f"/proc/{pid}/task")
        ]
        children = sorted({child for part in threads for child in part} | set(children))
    except OSError:
        return []
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _pss(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE)
        return 1024 * int(found.group(1)) if found else 0
    except OSError:
        return 0


def press_keys(server: Server, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from each of ``count`` key presses to the next picture, and those that the server took of them."""
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        browser.get(server.address)
        _until(browser, "return document.querySelector('#pictures img')?.complete")
        browser.execute_script(LISTEN)
        browser.set_script_timeout(120)
        for number in range(count):
            name = browser.execute_async_script(NEXT, number)  # waits without asking again and again
            key = KEYS_OF_CLASSES[int(Path(name).stem) % CLASSES]
            for kind in ("keyDown", "keyUp"):
                browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key, "text": key})
        browser.execute_async_script(NEXT, count)
        return browser.execute_script("return window.taken"), browser.execute_script(ANSWERS)


def _until(browser: Any, script: str) -> None:
    end = time.monotonic() + 120
    while not browser.execute_script(script):
        if time.monotonic() > end:
            raise SystemExit(f"waited two minutes for: {script}")


def votes_after_labels(server: Server, count: int) -> list[float]:
    """Milliseconds from each of ``count`` labels to votes that have it."""
    taken = []
    for _ in range(count):
        item = server.ask("/state")["next"][0]
        label = f"class {int(Path(item['name']).stem) % CLASSES}"
        began = time.perf_counter()
        marks = [[item["row"], "label", label]]
        state = server.ask("/mark", {"id": secrets.token_hex(8), "how": "chosen", "marks": marks})
        while state["believed"] < state["revision"]:
            state = server.ask(f"/state?after={state['version']}")
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def main() -> None:
    """Print what was measured and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--random", action="store_true", help="features are random vectors")
    parser.add_argument("--folder", type=Path, help="where it works, and finds what it left there; a temporary one if absent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        images, run = folder / f"images-{options.pictures}", folder / f"run-{options.pictures}"
        if not images.is_dir():
            draw(images, options.pictures)
        if options.random and not run.is_dir():
            embed_at_random(images, run)
        began = time.perf_counter()
        server = Server(images, run)
        try:
            started = time.perf_counter() - began
            for number in range(CLASSES):
                name = f"class {number}"
                marks = [[row, "label", name] for row in (number, number + CLASSES)]
                server.ask("/mark", {"id": f"first {number:04}", "how": "other", "marks": marks})
            server.wait("ready")
            print(
                f"{options.pictures} pictures: the page after {started:.1f} s, ready after {time.perf_counter() - began:.0f} s",
                flush=True,
            )
            votes, (keys, answers) = votes_after_labels(server, LABELS), press_keys(server, KEYS)
        finally:
            server.end()
    for what, found in (("key to the next picture", keys), ("the server's part", answers), ("label to votes", votes)):
        middle, high = np.quantile(found, 0.5), np.quantile(found, 0.95)
        print(f"{what}: median {middle:.0f} ms, 95th percentile {high:.0f} ms, most {max(found):.0f} ms")
    bars: tuple[float | None, ...] = BARS.get(options.pictures, (None, None, None))
    about = f"with {options.pictures} pictures"
    finish(
        Figure(
            f"milliseconds from a key to the next picture {about}",
            round(float(np.quantile(keys, 0.95)), 1),
            bars[0],
            False,
            True,
        ),
        Figure(f"milliseconds from a label to votes {about}", round(float(np.quantile(votes, 0.95)), 1), bars[1], False, True),
        Figure(f"GB of memory {about}", round(server.memory, 2), bars[2], False),
    )


if __name__ == "__main__":
    main()
