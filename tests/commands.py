"""The command line called in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from paws.cli import main


class Command:
    """``command(*arguments)`` runs ``paws ARGUMENTS``; it must end with ``code``. What it wrote is in ``out`` and ``err``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        self.monkeypatch.setattr(sys, "argv", ["paws", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        self.out, self.err = self.capsys.readouterr()
        assert (ended.value.code or 0) == code, f"exit code {ended.value.code}\n{self.out}\n{self.err}"
        return self.out if code == 0 else self.err
