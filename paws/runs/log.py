"""Metrics rows of a run: JSON lines, CSV and TensorBoard."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from paws.errors import InputError
from paws.runs.files import reason_of, write_text

HELD_OUT = "held-out"  # marks the last row, that of the held-out split


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
        """Append a row; ``row["step"]`` counts finished steps. Raises InputError where it cannot be written."""
        _append(self.jsonl, json.dumps(row) + "\n")
        new = [name for name in row if name not in self.columns]
        self.columns += new
        if new:
            self._rewrite_csv(read_metrics(self.jsonl.parent))
        else:
            line = io.StringIO(newline="")
            csv.DictWriter(line, self.columns).writerow(row)
            _append(self.csv, line.getvalue())
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


def _append(path: Path, text: str) -> None:
    try:
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{path}: {reason_of(error)}") from error


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
