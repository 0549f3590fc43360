"""What a run tells while it goes: metrics rows, TensorBoard events, the progress line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from paws import log
from paws.log import Metrics, progress_bar, read_metrics
from tests.runs import CARD, finish, paws


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
        assert written == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows]


def test_rows_past_the_step_are_dropped_on_resume(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    for step in (10, 20, 30):
        metrics.write({"step": step, "loss": 1 / step})
    Metrics(tmp_path, step=20).write({"step": 30, "loss": 0.5, "top1": 1.0})
    assert [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0.1, 0.05, 0.5]
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,loss,top1", "10,0.1,", "20,0.05,", "30,0.5,1.0"]


def test_progress_line_shows_losses_throughput_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(log, "console", Console(file=screen, force_terminal=True, width=120))
    with progress_bar() as bar:
        task = bar.add_task("training", total=100, completed=40, numbers="loss 1.234  567 images/s")
        bar.update(task, completed=50)
        bar.refresh()
    shown = screen.getvalue()
    for part in ("training", "50/100", "loss 1.234", "567 images/s", "left"):
        assert part in shown
