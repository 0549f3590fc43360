"""How a verb imports what is heavy. Without torch."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import torch and what needs it in this block: a quarter sooner than outside.

    Modules are hundreds of thousands of objects that live until the process ends. Python's collector of cycles looks through
    them again and again while they are made, and once more at the end. Here it waits, and leaves alone what it then finds.
    """
    if "torch" in sys.modules or not gc.isenabled():  # nothing to win, or a matter of the calling program
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
