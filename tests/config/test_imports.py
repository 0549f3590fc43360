"""Heavy imports: the collector waits for them, and a calling program's own settings stay as they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALONE = "import gc, sys; from paws.config.imports import heavy_imports\n"


def _printed(program: str) -> list[str]:
    """The words that a Python process of its own prints, in which nothing heavy was imported."""
    done = subprocess.run([sys.executable, "-c", ALONE + program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_collector_waits_and_leaves_alone_what_was_imported() -> None:
    program = "with heavy_imports(): import json; print(gc.isenabled())\nprint(gc.isenabled(), gc.get_freeze_count() > 0)"
    assert _printed(program) == ["False", "True", "True"]


def test_it_collects_again_after_an_import_that_fails() -> None:
    program = "try:\n with heavy_imports(): import no_such_module\nexcept ImportError: print(gc.isenabled())"
    assert _printed(program) == ["True"]


@pytest.mark.parametrize("before", ["gc.disable()", "sys.modules['torch'] = sys"])
def test_a_calling_program_keeps_its_own_way(before: str) -> None:
    program = f"{before}; was = gc.isenabled()\nwith heavy_imports(): print(gc.isenabled() == was)\n"
    assert _printed(program + "print(gc.isenabled() == was, gc.get_freeze_count())") == ["True", "True", "0"]
