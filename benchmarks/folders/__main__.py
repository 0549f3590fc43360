"""Folders with known truth: `python -m benchmarks.folders [--tune] [--prior true even] [--folders NAME ...] [--quick]`.

Each folder is fitted by ``paws.fit.fit.fit_features`` with few labels a class, drawn evenly and as a random sample, in several
draws, and what it says is held against the truth of the pictures that have no label. Choices were made on the folders marked
for tuning and the draws 0 to 4 alone (``--tune``); as it comes the draws 60 to 64 of all folders are measured, which no version
before was measured on.

Rows are appended to ``docs/results/folders.csv`` (``folders-tuning.csv``), and what is there is not measured again. ``--prior``
measures with the true or with even class frequencies given instead of the estimate. ``--table`` measures nothing.

The pictures come from Debian's dataset-fashion-mnist, fonts-aenigma, openclipart-png, wesnoth-1.16-data and
oxygen-icon-theme, and npm's emoji-datasource-twitter; they and their features are kept in ~/.cache/paws/benchmarks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.folders.build import FOLDERS
from benchmarks.folders.features import NAMES, from_files, load
from benchmarks.folders.measure import IN_USE, TRUE, UNIFORM, Cell, Results, one_fit
from benchmarks.folders.summary import draw_figure, figures, table
from benchmarks.side_by_side import Figure, finish

RESULTS = Path(__file__).parents[2] / "docs" / "results"
COUNTS = (1, 2, 4, 10, 25)
PRIORS = {"estimate": None, "true": TRUE, "even": UNIFORM}
QUICK = ("digits", 300)  # the folder of the quick run and its pictures


def cells(name: str, counts: list[int], draws: range, kinds: list[str]) -> Iterator[Cell]:
    """Every fit of a folder."""
    return ((name, kind, count, number) for count in counts for kind in kinds for number in draws)


def quick() -> None:
    """One fit of 300 digits, kept nowhere."""
    name, largest = QUICK
    rows = one_fit(from_files(name, FOLDERS[name], largest), (name, "even", 4, 0))
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    right = next(100 * float(row["accuracy"]) for row in rows if row["method"] == IN_USE)
    finish(Figure("digits as PNG files, 300 of them, 4 labels a class: right in %", round(right, 1), 60.0))


def main() -> None:
    """Measure what is missing; print the table and the figures and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one fit of 300 pictures, under a minute")
    parser.add_argument("--tune", action="store_true", help="folders and draws on which choices were made")
    parser.add_argument("--prior", nargs="+", choices=PRIORS, default=["estimate"], help="class frequencies that a fit uses")
    parser.add_argument("--table", action="store_true", help="print what was measured, and measure nothing")
    parser.add_argument("--folders", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--per-class", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--labels", nargs="+", choices=("even", "sample"), default=["even", "sample"])
    parser.add_argument("--draws", type=int, default=5, help="number of draws")
    options = parser.parse_args()
    if options.quick:
        quick()
        return
    first = 0 if options.tune else 60
    stem = "folders-tuning" if options.tune else "folders"
    results = Results(RESULTS / f"{stem}.csv")
    for name in () if options.table else options.folders or NAMES:
        wanted = cells(name, options.per_class, range(first, first + options.draws), options.labels)
        given = [PRIORS[prior] for prior in options.prior]
        missing = [(cell, each) for cell in wanted for each in given if results.missing(cell, each)]
        data = load(name, tune=options.tune) if missing else None
        if data is None or (options.tune and not data.tuning):
            continue
        for cell, each in missing:
            results.add(one_fit(data, cell, each))
            print(*cell, each or "", "done", flush=True)
    print(*table(results), sep="\n")
    draw_figure(results, RESULTS / f"{stem}.png")
    finish(*figures(results))


if __name__ == "__main__":
    main()
