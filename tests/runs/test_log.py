"""The run folder, which says that it holds a run for as long as anything of one is in it; metrics rows; the progress line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from paws.errors import InputError
from paws.runs import console, folder
from paws.runs.console import progress_bar
from paws.runs.folder import MARKER, OWN, check_run_folder, claim, clear_run, holds_run
from paws.runs.log import Metrics, read_metrics
from paws.runs.temporary import remove
from tests.digits_runs import CARD, finish, paws


class Killed(BaseException):
    pass


def fill(folder: Path) -> None:
    for name in OWN:
        if "." in name:
            (folder / name).write_text("old")
        else:
            (folder / name).mkdir()
            (folder / name / "step-00000001.pt").write_text("old")
    (folder / "notes.txt").write_text("mine")
    claim(folder, "training")


@pytest.mark.parametrize("removals", range(len(OWN)))
def test_a_kill_while_a_run_is_removed_never_leaves_a_folder_that_looks_fresh(
    removals: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(tmp_path)
    left = iter([True] * removals)

    def remove_or_die(path: Path) -> None:
        if not next(left, False):
            raise Killed
        remove(path)

    monkeypatch.setattr(folder, "remove", remove_or_die)
    with pytest.raises(Killed):
        clear_run(tmp_path)
    monkeypatch.undo()
    assert holds_run(tmp_path)
    with pytest.raises(InputError, match="already holds a run"):
        check_run_folder(tmp_path, resume=False, overwrite=False)
    clear_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "notes.txt"]
    assert not holds_run(tmp_path)


def test_checkpoints_without_a_config_are_a_run(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    assert not holds_run(tmp_path)
    (tmp_path / "checkpoints" / "step-00000001.pt").touch()
    assert holds_run(tmp_path)


def test_tensorboard_events_hold_the_metrics_rows(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (tmp_path / "card.yaml").write_text(CARD)
    finish(paws("train", "card.yaml", "optim.epochs=1", "log.tensorboard=true", cwd=tmp_path))
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = read_metrics(tmp_path / "run")
    assert rows
    for name in ("loss", "cross_entropy", "me_max", "lr"):
        written = [(event.step, event.value) for event in events.Scalars(name)]
        assert written == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]


def test_rows_past_the_step_are_dropped_on_resume(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    for step in (10, 20, 30):
        metrics.write({"step": step, "loss": 1 / step})
    Metrics(tmp_path, step=20).write({"step": 30, "loss": 0.5, "top1": 1.0})
    assert [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0.1, 0.05, 0.5]
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,loss,top1", "10,0.1,", "20,0.05,", "30,0.5,1.0"]


def test_progress_line_shows_losses_throughput_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=screen, force_terminal=True, width=120))
    with progress_bar() as bar:
        task = bar.add_task("training", total=100, completed=40, numbers="loss 1.234  567 images/s")
        bar.update(task, completed=50)
        bar.refresh()
    shown = screen.getvalue()
    for part in ("training", "50/100", "loss 1.234", "567 images/s", "left"):
        assert part in shown
