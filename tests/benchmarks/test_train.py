"""What the benchmark of `paws fit --train` makes of its rows."""

from __future__ import annotations

import pytest

from benchmarks.train import COLUMNS, HEADS, Row, gains, summary, table


def rows(*cells: tuple[str, str, float]) -> list[Row]:
    """Fashion-MNIST with ten labels a class: (draw, way, percent right)."""
    there = dict.fromkeys(COLUMNS, "0.00") | {"data": "fashion", "images": "2000", "per_class": "10", "cpu_seconds": "90"}
    return [
        there | {"draw": number, "train": way, "top1": str(right), "encoders": "" if way == HEADS else "plain_cnn, 279 steps"}
        for number, way, right in cells
    ]


def test_gains_are_of_the_same_draw() -> None:
    found = gains(
        rows(("0", "light", 82.0), ("0", HEADS, 80.0), ("1", HEADS, 70.0), ("1", "light", 71.0), ("2", "light", 99.0))
    )
    assert found == {("fashion", "2000", "10", "light"): [2.0, 1.0]}


def test_the_table_has_means_over_draws() -> None:
    lines = table(rows(("0", "light", 82.0), ("0", HEADS, 80.0), ("1", "light", 84.0)))
    assert lines[2].startswith("| Fashion-MNIST, 2,000 | 10 | as it comes | 80.0 |") and lines[2].endswith("| 90 | 1 |")
    assert lines[3].startswith("| Fashion-MNIST, 2,000 | 10 | `--train light` (plain_cnn, 279 steps) | 83.0 ± 1.4 |")


@pytest.mark.parametrize(
    ("light", "missed"),
    [
        ((82.5, 82.0), set()),
        ((82.5, 80.0), {"fashion 2000 10 light: points added"}),
        ((84.0, 79.4), {"points that --train adds, the least", "fashion 2000 10 light: points added"}),
    ],
)
def test_what_misses_its_bar_is_named(light: tuple[float, float], missed: set[str]) -> None:
    found = summary(
        rows(*((str(i), way, right) for i, of in enumerate(light) for way, right in ((HEADS, 80.0), ("light", of))))
    )
    assert {figure.name for figure in found if figure.missed} == missed
