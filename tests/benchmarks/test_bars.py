"""A benchmark that misses its bar ends with an error, and says which."""

from __future__ import annotations

import json

import pytest

from benchmarks.side_by_side import Figure, finish


@pytest.mark.parametrize(
    ("value", "bar", "higher", "missed"),
    [
        (1.0, 1.0, True, False),
        (0.9, 1.0, True, True),
        (1.0, 1.0, False, False),
        (1.1, 1.0, False, True),
        (5.0, None, True, False),
    ],
)
def test_a_bar_holds_in_its_direction(value: float, bar: float | None, higher: bool, missed: bool) -> None:
    assert Figure("x", value, bar, higher).missed is missed


def test_one_miss_of_several_is_an_error_and_timings_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    finish(Figure("a", 2.0, 1.0), Figure("b", 1.0), more=3)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["missed"] == []
    with pytest.raises(SystemExit) as ended:
        finish(Figure("a", 2.0, 1.0), Figure("accuracy", 0.5, 0.9), Figure("seconds", 9.0, 2.0, False, timing=True))
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])
    assert (found["missed"], found["missed_timings"]) == (["accuracy"], ["seconds"])
    assert err == "missed: accuracy, seconds\n"
