"""However a command ends, what it was writing is whole or not there, and the next call finds nothing in its way."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paws.bundle.bundle import load_bundle
from paws.fit import run as files_of_run
from paws.fit.run import load_fit
from paws.labels import relabel
from paws.runs.temporary import TEMPORARY
from tests.commands import Command
from tests.digits_runs import finish, paws, wait_until


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


def test_what_a_kill_leaves_is_gone_after_the_same_command(fitted_run: Path, tmp_path: Path) -> None:
    arguments = ["predict", fitted_run / "bundle", fitted_run.parent / "images", "-o", "p.csv", "--workers", "0"]
    process = paws(*arguments[:2], *[arguments[2]] * 40, *arguments[3:], cwd=tmp_path)
    wait_until(lambda: left_over(tmp_path), "the table is being written")
    process.process.kill()
    process.wait()
    assert left_over(tmp_path)
    finish(paws(*arguments, cwd=tmp_path))
    assert not left_over(tmp_path)


# --- labels ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


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


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", range(12))
def test_labels_killed_at_any_step_are_undone_or_finished(
    step: int, changed: Path, fitted_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(step))
    rename, replace = os.rename, os.replace

    def until_killed(function):
        def call(*arguments, **options):
            if next(steps, None) is None:
                raise Killed
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(os, "rename", until_killed(rename))
    monkeypatch.setattr(os, "replace", until_killed(replace))
    try:
        change(changed)
        ended = True
    except Killed:
        ended = False
    monkeypatch.undo()
    load_fit(changed)
    found = {name: data for name, data in contents(changed).items() if name != ".lock"}
    old = {name: data for name, data in contents(fitted_run).items() if name != ".lock"}
    new = {name: data for name, data in contents(changed.parent / "whole").items() if name != ".lock"}
    assert found in ([new] if ended else [old, new])
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


def run_with(stdout: int | None, *arguments: str | Path) -> tuple[int, str]:
    """Exit code and error output of a command whose standard output is a file, or closed."""
    command = [sys.executable, "-m", "paws", *map(str, arguments)]
    if stdout is None:
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [("schema",), ("explain", "RUN", "IMAGE", "--json"), ("explain", "RUN", "IMAGE")])
def test_closed_and_full_standard_output_is_an_error(arguments: tuple[str, ...], fitted_run: Path) -> None:
    words = {"RUN": fitted_run, "IMAGE": next((fitted_run.parent / "images").glob("*.png"))}
    given = [words.get(word, word) for word in arguments]
    if given == ["schema"]:  # told before the verb is looked at
        code, err = run_with(None, *given)
        assert (code, err) == (1, "error: standard output is closed\n")
    with open("/dev/full", "w") as full:
        code, err = run_with(full.fileno(), *given)
    assert code == 1 and "standard output cannot be written (No space left on device)" in err and "Traceback" not in err
    read, write = os.pipe()
    os.close(read)
    code, err = run_with(write, *given)
    os.close(write)
    assert code == 1 and "standard output cannot be written (Broken pipe)" in err and "Traceback" not in err


def test_json_is_alone_on_standard_output(command: Command, fitted_run: Path) -> None:
    images = fitted_run.parent / "images"
    lines = command("predict", fitted_run / "bundle", images, "--json").splitlines()
    assert len([json.loads(line) for line in lines]) == 36
    assert json.loads(command("explain", fitted_run, next(images.glob("*.png")), "--json"))
