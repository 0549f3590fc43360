"""However a command ends, what it was writing is whole or not there, and the next call finds nothing in its way."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from paws.bundle.bundle import load_bundle
from paws.cli import _stopped_by_signals, main
from paws.config.options import FitOptions
from paws.errors import InputError
from paws.fit import run as files_of_run
from paws.fit.pipeline import fit_folder
from paws.fit.progress import StepProgress
from paws.fit.run import load_fit
from paws.fit.steps import Steps
from paws.labels import relabel
from paws.runs import temporary
from paws.runs.log import Metrics
from paws.runs.temporary import TEMPORARY
from tests.commands import Command
from tests.conftest import TINY, write_patterns
from tests.digits_runs import finish, paws, wait_until
from tests.ranks import context
from tests.trust.case import FIT


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if TEMPORARY.fullmatch(path.name)]


def test_sigterm_outside_of_training_ends_with_a_message_and_no_left_overs(fitted_run: Path, tmp_path: Path) -> None:
    images = [fitted_run.parent / "images"] * 40
    process = paws("predict", fitted_run / "bundle", *images, "-o", "p.csv", "--workers", "0", cwd=tmp_path)
    wait_until(lambda: left_over(tmp_path), "the table is being written")
    os.kill(process.pid, signal.SIGTERM)
    _, err = finish(process, code=128 + signal.SIGTERM)
    assert "stopped by SIGTERM" in err and "Traceback" not in err
    assert not left_over(tmp_path) and not (tmp_path / "p.csv").exists()


def test_an_end_that_native_code_takes_for_a_failure_is_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    former = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as end, _stopped_by_signals():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            try:
                signal.raise_signal(signal.SIGTERM)
            except SystemExit:
                raise ValueError("a shape that could not be told") from None
    finally:
        signal.signal(signal.SIGTERM, former)
    assert end.value.code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in capsys.readouterr().err


def test_what_a_kill_leaves_is_gone_after_the_same_command(fitted_run: Path, tmp_path: Path) -> None:
    arguments = ["predict", fitted_run / "bundle", fitted_run.parent / "images", "-o", "p.csv", "--workers", "0"]
    process = paws(*arguments[:2], *[arguments[2]] * 40, *arguments[3:], cwd=tmp_path)
    wait_until(lambda: left_over(tmp_path), "the table is being written")
    process.process.kill()
    process.wait()
    assert left_over(tmp_path)
    finish(paws(*arguments, cwd=tmp_path))
    assert not left_over(tmp_path)


def killed_at_rename(arguments: list[str], cwd: Path, number: int) -> None:
    """The command line, whose process ends without a word instead of the rename ``number`` of a folder of bundles."""
    left, rename = iter(range(number)), os.rename

    def until_killed(source: str | Path, target: str | Path) -> None:
        if "bundle" in (Path(source).name, Path(target).name) and next(left, None) is None:
            os._exit(9)
        rename(source, target)

    os.rename = until_killed  # type: ignore[assignment]
    os.chdir(cwd)
    sys.argv = ["paws", *arguments]
    main()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_fit_killed_while_it_replaces_its_bundle_is_mended_by_the_same_command(
    number: int, command: Command, fitted_run: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_patterns(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ["fit", "images", "--labels", "labels.csv", "-o", "run", *(part.format(weights=tiny_weights) for part in FIT)]
    command(*arguments, "--device", "cpu")
    rows = Path("labels.csv").read_text(encoding="utf-8").splitlines()
    Path("labels.csv").write_text("\n".join(rows[:-1]) + "\n", encoding="utf-8")
    process = context.Process(target=killed_at_rename, args=([*arguments, "--device", "cpu"], tmp_path, number))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert (tmp_path / "run" / "bundle").exists() == (number < 2)
    assert load_fit(tmp_path / "run").record.label_count == len(rows) - (1 if number == 0 else 2)
    temporary._sweep.cache_clear()  # as in another process
    command(*arguments, "--device", "cpu")
    assert load_fit(tmp_path / "run").record.label_count == len(rows) - 2
    assert len(load_bundle(tmp_path / "run" / "bundle").support_files) == len(rows) - 2
    assert not left_over(tmp_path)


class Killed(BaseException):
    pass


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != ".lock"}


def kill_at_rename(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Raise `Killed` instead of the rename ``step`` and of all after it."""
    steps = iter(range(step))

    def until_killed(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **options: Any) -> None:
            if next(steps, None) is None:
                raise Killed
            function(*arguments, **options)

        return call

    monkeypatch.setattr(os, "rename", until_killed(os.rename))
    monkeypatch.setattr(os, "replace", until_killed(os.replace))


@pytest.fixture(scope="module")
def refit(fitted_run: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Writes the results of a later fit into a run, as the last step of ``paws fit`` does."""
    run = tmp_path_factory.mktemp("refit") / "run"
    shutil.copytree(fitted_run, run)
    caught: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "save", lambda steps, run, *found: caught.extend((steps, *found)))
        settings = FitOptions(backbone=TINY, weights=str(tiny_weights), image_size=32, views=2, steps=30, seed=5)
        images = fitted_run.parent / "images"
        fit_folder(images, fitted_run.parent / "labels.csv", run, settings, workers=0, quiet=True)
    steps, *found = caught
    return lambda run: replace(steps, progress=StepProgress(quiet=True)).save(run, *found)


@pytest.mark.parametrize("step", range(23))
def test_a_fit_killed_while_it_writes_leaves_the_former_one_or_the_new(
    step: int, refit: Callable[[Path], None], fitted_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("run", "whole"):
        shutil.copytree(fitted_run, tmp_path / name)
    refit(tmp_path / "whole")
    old, new = contents(fitted_run), contents(tmp_path / "whole")
    assert old["fit.json"] != new["fit.json"] and old["predictions.csv"] != new["predictions.csv"]
    kill_at_rename(monkeypatch, step)
    try:
        refit(tmp_path / "run")
        ended = True
    except Killed:
        ended = False
    monkeypatch.undo()
    assert load_fit(tmp_path / "run").predictions
    assert contents(tmp_path / "run") in ([new] if ended else [old, new])
    assert ended == (step == 22), "a kill at each rename was tried"
    assert load_bundle(tmp_path / "run/bundle").classes and not left_over(tmp_path)


def test_a_fit_that_the_disk_has_no_room_for_leaves_the_former_one(
    refit: Callable[[Path], None], fitted_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(fitted_run, tmp_path / "run")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, former[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written \(File too large\): free some space"):
            refit(tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert contents(tmp_path / "run") == contents(fitted_run)


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def changed(fitted_run: Path, tmp_path: Path) -> Path:
    """A run whose labels are about to be changed, and what the change must lead to beside it."""
    for name in ("run", "whole"):
        shutil.copytree(fitted_run, tmp_path / name)
    change(tmp_path / "whole")
    return tmp_path / "run"


def change(folder: Path) -> None:
    run = load_fit(folder)
    relabel.rewrite_run(run, *relabel.relabel_run(run, {run.files[0]: "rows"}))


@pytest.mark.parametrize("step", range(12))
def test_labels_killed_at_any_step_are_undone_or_finished(
    step: int, changed: Path, fitted_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at_rename(monkeypatch, step)
    try:
        change(changed)
        ended = True
    except Killed:
        ended = False
    monkeypatch.undo()
    load_fit(changed)
    old, new = contents(fitted_run), contents(changed.parent / "whole")
    assert contents(changed) in ([new] if ended else [old, new])
    load_bundle(changed / "bundle")
    assert not left_over(changed)


def test_every_verb_finishes_what_labels_had_begun(changed: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(folder: Path) -> None:
        raise Killed

    monkeypatch.setattr(files_of_run, "put_in_place", die)
    with pytest.raises(Killed):
        change(changed)
    monkeypatch.undo()
    assert (changed / "changed").is_dir()
    command("report", changed)
    assert not (changed / "changed").exists()
    assert load_fit(changed).record.labels_changed == 1
    assert load_fit(changed).bundle.support_files == load_fit(changed.parent / "whole").bundle.support_files


# --- disk and streams ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (("export", "RUN", "-o", "net.safetensors"), 10_000),
        (("export", "RUN", "-o", "net.onnx"), 10_000),
        (("report", "RUN", "-o", "page.html"), 10_000),
        (("explain", "RUN", "IMAGE", "-o", "why.png"), 1000),
        (("predict", "RUN/bundle", "IMAGES", "-o", "p.csv"), 1000),
    ],
)
def test_a_full_disk_is_named(
    arguments: tuple[str, ...], size: int, command: Command, fitted_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fitted_run.parent / "images"
    load_bundle(fitted_run / "bundle").predict([next(images.glob("*.png"))])  # the exported network is in the cache
    words = {"RUN": fitted_run, "RUN/bundle": fitted_run / "bundle", "IMAGES": images, "IMAGE": next(images.glob("*.png"))}
    monkeypatch.chdir(tmp_path)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        said = command(*(words.get(word, word) for word in arguments), code=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert "cannot be written (File too large): free some space" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 9 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes\nat c10")],
)
def test_memory_that_is_not_there_is_told(
    error: Exception, command: Command, fitted_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paws.bundle.bundle.load_bundle", Mock(side_effect=error))
    command("predict", "bundle", fitted_run.parent / "images", "--json", code=1)
    assert command.err.startswith("error: not enough memory (") and command.err.count("\n") == 1


def test_closed_standard_output_is_an_error() -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "paws", "schema"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (1, "error: standard output is closed\n")


def into(output: str, arguments: list[str], err: Path) -> None:
    """The command line with a full disk, or a pipe that nobody reads, as its standard output."""
    if output == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        read, descriptor = os.pipe()
        os.close(read)
    os.dup2(descriptor, 1)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False))  # that of the process was made for another file
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
    sys.argv = ["paws", *arguments]
    main()


@pytest.mark.parametrize("arguments", [("schema",), ("explain", "RUN", "IMAGE", "--json"), ("explain", "RUN", "IMAGE")])
@pytest.mark.parametrize(("output", "says"), [("full", "No space left on device"), ("pipe", "Broken pipe")])
def test_standard_output_that_takes_nothing_is_an_error(
    output: str, says: str, arguments: tuple[str, ...], fitted_run: Path, tmp_path: Path
) -> None:
    words = {"RUN": fitted_run, "IMAGE": next((fitted_run.parent / "images").glob("*.png"))}
    given = [str(words.get(word, word)) for word in arguments]
    process = context.Process(target=into, args=(output, given, tmp_path / "err"))
    process.start()
    process.join()
    err = (tmp_path / "err").read_text()
    assert process.exitcode == 1 and f"standard output cannot be written ({says})" in err and "Traceback" not in err


def test_json_is_alone_on_standard_output(command: Command, fitted_run: Path) -> None:
    images = fitted_run.parent / "images"
    lines = command("predict", fitted_run / "bundle", images, "--json").splitlines()
    assert len([json.loads(line) for line in lines]) == 36
    assert json.loads(command("explain", fitted_run, next(images.glob("*.png")), "--json"))


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("os.pwrite", ("fit", "IMAGES", "--labels", "LABELS", "-o", "run", *FIT, "--device", "cpu"), "run: cannot be written"),
        ("shutil.copy2", ("sort", "RUN", "--into", "sorted"), "sorted: cannot be written"),
    ],
)
def test_a_full_disk_is_not_taken_for_standard_output_or_an_input(
    name: str,
    arguments: tuple[str, ...],
    says: str,
    command: Command,
    fitted_run: Path,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = fitted_run.parent
    words = {"IMAGES": beside / "images", "LABELS": beside / "labels.csv", "RUN": fitted_run, "{weights}": tiny_weights}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(name, Mock(side_effect=FULL))
    assert f"{says} (No space left on device): free some space" in command(
        *(words.get(word, word) for word in arguments), code=2
    )


def test_a_full_disk_of_an_unknown_file_is_not_taken_for_standard_output(
    command: Command, fitted_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paws.bundle.bundle.load_bundle", Mock(side_effect=FULL))
    command("predict", fitted_run / "bundle", fitted_run.parent / "images", "--json", code=1)
    assert command.err == "error: a file cannot be written (No space left on device)\n"


def test_metrics_on_a_full_disk_are_told(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.jsonl.unlink()
    metrics.jsonl.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"metrics.jsonl: cannot be written \(No space left on device\): free some space"):
        metrics.write({"step": 1})
