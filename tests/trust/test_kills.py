"""Verbs killed at a random moment: what they write is whole, absent, or mended by the same command again."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from paws.bundle.bundle import load_bundle
from paws.bundle.table import read_table
from paws.fit.feature_file import read_store
from paws.fit.run import load_fit
from paws.runs.temporary import TEMPORARY
from paws.seeds import python_random
from tests.conftest import write_patterns
from tests.digits_runs import Started, paws
from tests.trust.case import FIT

KILLS = int(os.environ.get("PAWS_KILLS", "20"))  # of each verb
IMAGES = 36


def whole_fit(run: Path) -> None:
    found = load_fit(run)
    assert len(found.predictions) == len(found.files) == IMAGES
    assert [row["file"] for row in found.predictions] == list(found.files)
    assert load_bundle(run / "bundle").classes == found.bundle.classes == found.record.classes


def whole_labels(run: Path) -> None:
    """The bundle, the table and the record tell of the same labels."""
    whole_fit(run)
    found = load_fit(run)
    given = {row["file"]: row["given"] for row in found.predictions if row["given"]}
    labels, classes = found.bundle.classifier.support_labels.tolist(), found.bundle.classes
    assert given == {file: classes[y] for file, y in zip(found.bundle.support_files, labels, strict=True)}
    assert found.record.label_count == len(labels)


def whole_table(path: Path) -> None:
    assert len(read_table(path)) == IMAGES


def whole_page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def whole_tensors(path: Path) -> None:
    from safetensors.torch import load_file

    assert load_file(path)


VERBS: dict[str, tuple[tuple[str, ...], str, Callable[[Path], None], bool]] = {  # arguments, target, check, taken at the end
    "fit": (("fit", "images", "--labels", "labels.csv", "-o", "new", *FIT, "--steps", "40"), "new", whole_fit, False),
    "refit": (
        ("fit", "images", "--labels", "labels.csv", "-o", "run", *FIT, "--views", "2", "--seed", "1"),
        "run",
        whole_fit,
        False,
    ),
    "labels": (("labels", "run", "--csv", "more.csv"), "run", whole_labels, False),
    "predict": (("predict", "run/bundle", "images", "-o", "out.csv", "--workers", "0"), "out.csv", whole_table, False),
    "export": (("export", "run", "-o", "model.safetensors"), "model.safetensors", whole_tensors, True),
    "report": (("report", "run", "-o", "page.html"), "page.html", whole_page, False),
}


def prepared(folder: Path, images: Path, fitted: Path, weights: Path) -> None:
    """The images and the fit of the session, copied, with labels to correct and to add."""
    folder.mkdir()
    write_patterns(folder)
    shutil.copytree(fitted, folder / "run")
    of_these = (fitted / "fit.json").read_text(encoding="utf-8").replace(str(fitted.parent), str(folder))
    (folder / "run/fit.json").write_text(of_these, encoding="utf-8")
    rows = [row["file"] for row in load_fit(fitted).predictions if not row["given"]][:3]
    (folder / "more.csv").write_text("file,label\n" + "".join(f"{file},dots\n" for file in rows), encoding="utf-8")


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if TEMPORARY.fullmatch(path.name)]


def embedded(run: Path) -> bool:
    """Whether all features are there."""
    found = read_store(run / "features")
    return found is not None and bool(found[1]["checksum"].all())


STAGES: dict[str, Callable[[Path], bool]] = {  # of a fit, and how it is told that one has begun
    "check": lambda run: (run / ".paws-run").exists(),
    "embed": lambda run: (run / "features" / "views.json").exists(),
    "train": embedded,
    "save": lambda run: any(run.glob(".paws-*.tmp/held_out.csv")) or (run / "changed").exists(),
    "end": lambda run: (run / "fit.json").exists(),
}


def started(arguments: tuple[str, ...], folder: Path) -> Started:
    """The verb, with a store of features of its own, so that a fit has to embed."""
    exported = Path(os.environ["PAWS_CACHE"]) / "onnx"
    shutil.copytree(exported, folder / "cache" / "onnx", dirs_exist_ok=True)
    return paws(*arguments, cwd=folder, PAWS_CACHE=str(folder / "cache"))


def reached(run: Path) -> str:
    """The last stage of a fit that has begun."""
    return next((stage for stage, begun in reversed(STAGES.items()) if begun(run)), "start")


def await_moment(verb: str, number: int, process: BaseProcess, run: Path, delay: float) -> None:
    """Return at the moment to kill, or when the verb has ended before; of two fits one is struck soon after a stage began."""
    if verb == "fit" and number % 2:
        begun = list(STAGES.values())[number // 2 % len(STAGES)]
        while process.is_alive() and not begun(run):
            time.sleep(0.001)
        delay /= 100  # stages may be short
    process.join(delay)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_random_moments(verb: str, tmp_path: Path, fitted_run: Path, tiny_weights: Path) -> None:
    arguments, target, check, new = VERBS[verb]
    arguments = tuple(part.format(weights=tiny_weights) for part in arguments)
    paws("schema", cwd=tmp_path).wait()  # imports
    prepared(tmp_path / "peaceful", fitted_run.parent / "images", fitted_run, tiny_weights)
    began = time.monotonic()
    assert started(arguments, tmp_path / "peaceful").wait() == 0
    duration = time.monotonic() - began
    check(tmp_path / "peaceful" / target)
    random, struck = python_random(KILLS, "verbs", verb), Counter[str]()
    for number in itertools.count():
        folder = tmp_path / str(number)
        prepared(folder, fitted_run.parent / "images", fitted_run, tiny_weights)
        process, path = started(arguments, folder), folder / target
        await_moment(verb, number, process.process, path, random.uniform(0, duration))
        process.process.kill()
        process.process.join()
        killed = process.process.exitcode == -signal.SIGKILL
        struck[(reached(path) if verb == "fit" else "killed") if killed else "ended before"] += 1
        if path.is_file() or target == "run":
            check(path)  # a file is whole or absent, a fit is the former one or the new
        again = started(arguments, folder)
        assert again.wait() in ((0, 2) if new and path.is_file() else (0,)), again.output()[1]
        check(path)
        assert not left_over(folder), "temporary files are swept by the next call"
        shutil.rmtree(folder)
        if struck.total() - struck["ended before"] == KILLS:
            break
    print(verb, dict(struck), f"{duration:.1f} s undisturbed")
    assert verb != "fit" or KILLS < 20 or {"check", "embed", "train", "save"} <= struck.keys()
