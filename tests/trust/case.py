"""One row of the table of inputs: what is called with what, how it must end, what the message must say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import TINY

Build = Callable[[Path], None]  # makes the inputs in an empty folder, which is the current one when the verb runs

FIT = ("--backbone", TINY, "--weights", "{weights}", "--image-size", "32", "--views", "1", "--steps", "8", "--workers", "0")
LABELLED = ("fit", "im", "--labels", "l.csv", "-o", "run", *FIT, "--device", "cpu")
CLASSES = ("fit", "im", "-o", "run", *FIT, "--device", "cpu")
PREDICT = ("predict", "{bundle}", "im", "-o", "out.csv", "--workers", "0", "--device", "cpu")


@dataclass(frozen=True)
class Case:
    """``verb``: the arguments after ``paws``, in which {weights}, {run} and {bundle} stand for those of a small fit, or a
    function of the folder, whose InputError counts as exit code 2 and whose result as what is printed.

    Whatever the end, files that were there are as they were, but those in ``changed``; with code 2 there are no new ones.
    """

    name: str
    verb: Sequence[str] | Callable[[Path], Any]
    build: Build = lambda folder: None
    code: int = 0
    says: tuple[str, ...] = ()  # what the output or the message must contain
    silent: tuple[str, ...] = ()  # what it must not contain
    changed: tuple[str, ...] = ()  # files that may change, and all below folders that are named
    first: Sequence[Sequence[str]] = ()  # what is called before, and succeeds
    given: str = ""  # weights, run or bundle: what a function is given in place of the folder


def shown(arguments: Sequence[str]) -> str:
    """A command line as the name of a row."""
    return "paws " + " ".join(part or "''" for part in arguments)
