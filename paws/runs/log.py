"""What a run tells: the run folder, metrics rows (JSONL, CSV, TensorBoard), and the live progress line."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from paws.errors import InputError

console = Console(highlight=False, soft_wrap=True)  # soft wrap: a path or command in a log stays on one line to copy

# In the order of removal: while anything of a run is left, config.yaml says that the folder holds one.
OWN = (
    "summary.json",
    "environment.json",
    "baselines.json",
    "metrics.jsonl",
    "metrics.csv",
    "checkpoints",
    "tensorboard",
    "report.html",
    "config.yaml",
)
HELD_OUT = "held-out"  # marks the last row, that of the held-out split


def write_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def holds_run(folder: Path) -> bool:
    """Whether a training run was begun in ``folder``; one that has lost its config still has checkpoints."""
    return (folder / "config.yaml").is_file() or any((folder / "checkpoints").glob("*.pt"))


def check_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that already holds a run unless told what to do with it; writes nothing.

    Raises:
        InputError: the folder holds a run and neither flag is set, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"run_dir {folder} is a file; give a folder")
    if holds_run(folder) and not (resume or overwrite):
        raise InputError(
            f"run_dir {folder} already holds a run: --resume goes on with it, --overwrite replaces it, "
            "or give another folder with run_dir=…"
        )


def clear_run(folder: Path) -> None:
    """Remove what a run wrote into ``folder``, and nothing else."""
    for name in OWN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class Metrics:
    """Rows of numbers by step in ``metrics.jsonl`` and ``metrics.csv``; on resume, rows past the step are dropped."""

    def __init__(self, folder: Path, *, step: int = 0, tensorboard: bool = False) -> None:
        self.jsonl, self.csv = folder / "metrics.jsonl", folder / "metrics.csv"
        # a run that goes on is evaluated again, also where it had ended
        rows = [row for row in read_metrics(folder) if row["step"] <= step and row.get("evaluation") != HELD_OUT]
        self.columns = list(dict.fromkeys(name for row in rows for name in row))
        write_text(self.jsonl, "".join(json.dumps(row) + "\n" for row in rows))
        self._rewrite_csv(rows)
        self.writer: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard.writer import SummaryWriter
            except ImportError as error:
                raise InputError("log.tensorboard needs TensorBoard: pip install 'paws-ssl[tracking]'") from error
            self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row; ``row["step"]`` counts finished steps."""
        with open(self.jsonl, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        new = [name for name in row if name not in self.columns]
        self.columns += new
        if new:
            self._rewrite_csv(read_metrics(self.jsonl.parent))
        else:
            with open(self.csv, "a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self.columns).writerow(row)
        if self.writer is not None:
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float):
                    self.writer.add_scalar(name, value, row["step"])

    def _rewrite_csv(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        if self.columns:
            writer.writeheader()
        writer.writerows(rows)
        write_text(self.csv, text.getvalue())

    def close(self) -> None:
        """Flush the TensorBoard events."""
        if self.writer is not None:
            self.writer.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The metrics rows of a run; a last line cut short by a kill is left out."""
    path = folder / "metrics.jsonl"
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def progress_bar(*, quiet: bool = False) -> Progress:
    """A live bar with losses, throughput and time left; silent where the output is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def numbers(row: dict[str, Any], *, short: bool = False) -> str:
    """A metrics row on one line: its losses and learning rate (``short``: the loss alone), then the throughput."""
    names = ["loss"] if short else [name for name in row if name not in ("step", "epoch", "images_per_second")]
    shown = [f"{name} {row[name]:.3f}" for name in names]
    return "  ".join([*shown, f"{row['images_per_second']:.0f} images/s"])
