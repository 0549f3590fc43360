"""A signal while `paws.fit` trains in a program: the state is saved, and then the program's own handler is called."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType

import pytest

import paws
from paws.runs.signals import Interrupted
from tests.conftest import TINY, write_patterns
from tests.digits_runs import wait_until


def test_the_programs_own_handler_is_called(tmp_path: Path, tiny_weights: Path) -> None:
    images, run = write_patterns(tmp_path), tmp_path / "run"
    called: list[int] = []

    def own(number: int, frame: FrameType | None) -> None:
        called.append(number)

    def kill() -> None:
        wait_until(lambda: any(path.stat().st_size for path in run.rglob("encoder-0/metrics.jsonl")), "the first steps")
        os.kill(os.getpid(), signal.SIGTERM)

    former = signal.signal(signal.SIGTERM, own)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            paws.fit(
                images,
                tmp_path / "labels.csv",
                run,
                backbone=TINY,
                weights=tiny_weights,
                image_size=32,
                views=1,
                steps=5,
                train="full",
                epochs=500,
                workers=0,
                device="cpu",
                quiet=True,
            )
        assert called == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is own
        assert list((run / "training").rglob("step-*.pt"))
    finally:
        killer.join()
        signal.signal(signal.SIGTERM, former)
