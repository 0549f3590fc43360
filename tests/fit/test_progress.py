"""Progress where there is no terminal: a line every so often, with what is left, and the seconds of each step at the end."""

from __future__ import annotations

import pytest

from paws.fit import progress
from paws.fit.progress import StepProgress


def test_a_step_that_lasts_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    steps = StepProgress()
    with steps.step("embed", 10) as advance:
        advance(4)
    assert capsys.readouterr().out == "", "within the first minute there is nothing to say"
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with steps.step("embed", 10) as advance:
        advance(4)
        advance(6)
    assert capsys.readouterr().out.splitlines() == [
        "embed    4 of 10 images, about 5 seconds left",
        "embed    10 of 10 images",
    ]
    with steps.step("fit") as advance:
        advance(50, "training heads")
    assert "fit      training heads: 50 of 100%" in capsys.readouterr().out
    assert list(steps.seconds) == ["embed", "fit"] and "embed 0.0 s, fit 0.0 s" in steps.summary()


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with StepProgress(quiet=True).step("embed", 2) as advance:
        advance(1)
    assert capsys.readouterr().out == ""
