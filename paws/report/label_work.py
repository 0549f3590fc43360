"""What is to be done about the labels of a fit: those to look at again, and the images to label next."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from paws.errors import InputError
from paws.fit.run import FitRun
from paws.labels.issues import suspicious
from paws.labels.suggest import suggest
from paws.report.contents import Listed
from paws.report.thumbnails import open_file
from paws.runs.lock import run_lock

SUSPICIOUS, SUGGESTED = 12, 12
PAGE, ADDRESS = "label", "address"  # folder in the run, and file in it, where `paws label` says where its page is


def suspected(fit: FitRun) -> tuple[Listed, ...]:
    """The labels that the other labelled images contradict, the most doubtful first."""
    return tuple(
        Listed(
            row.file,
            partial(open_file, fit.root / row.file),
            (f"labelled {row.label}", f"more like {row.predicted}", f"probability of its label {row.probability:.0%}"),
        )
        for row in suspicious(fit)[:SUSPICIOUS]
        if row.label != row.predicted
    )


def suggested(fit: FitRun) -> tuple[Listed, ...]:
    """The images whose labels would help most."""
    count = min(SUGGESTED, len(fit.unlabelled))
    rows = suggest(fit, count) if count else []
    return tuple(Listed(row.file, partial(open_file, fit.root / row.file), (row.reason,)) for row in rows)


def label_page(run: Path) -> str | None:
    """The address of the labelling page of a run, None where it does not run now."""
    try:
        found = (run / PAGE / ADDRESS).read_text(encoding="utf-8").strip()
        with run_lock(run / PAGE):  # a file that a kill has left
            return None
    except InputError:
        return found if found.startswith("http://127.0.0.1:") else None
    except (OSError, ValueError):
        return None
