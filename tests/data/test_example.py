"""The example folder is what `paws fit` takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from paws.data.labelled_folder import class_counts, labelled_folder
from paws.data.labels import read_labels
from tests.commands import Command


def test_the_example_is_a_folder_with_labels(command: Command, tmp_path: Path) -> None:
    out = command("example", tmp_path / "try")
    assert f"paws fit {tmp_path / 'try/photos'} --labels {tmp_path / 'try/labels.csv'}" in out
    files = labelled_folder(tmp_path / "try/photos", tmp_path / "try/labels.csv")
    assert class_counts(files) == {str(digit): 5 for digit in range(10)}
    tested = Counter(row.label for row in read_labels(tmp_path / "try/test.csv"))
    assert len(files) == 1797 and tested == {str(digit): 40 for digit in range(10)}
    assert "CC BY 4.0" in (tmp_path / "try/LICENCE.txt").read_text(encoding="utf-8")
    assert "exists already" in command("example", tmp_path / "try", code=2)
