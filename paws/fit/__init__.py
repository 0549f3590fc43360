"""A folder of images and a few labels made a classifier, step by step. The package itself is a function, `paws.fit(...)`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from paws.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from paws.fit.run import FitRun


class _Callable(ModuleType):
    """The module of this package: what `paws.fit.pipeline` is found in, and what `paws.fit(...)` calls."""

    def __call__(
        self,
        images: str | Path,
        labels: str | Path | Sequence[str | Path] | pd.DataFrame | None,
        run: str | Path,
        *,
        test: str | Path | Sequence[str | Path] | pd.DataFrame | None = None,
        device: str = "auto",
        workers: int | None = None,
        overwrite: bool = False,
        quiet: bool = False,
        **options: Any,
    ) -> FitRun:
        """Fit a classifier to a folder of images, as the verb ``paws fit`` does.

        Args:
            images: folder of images, nested folders too.
            labels: CSV or .jsonl with file and label, several of them, or a pandas DataFrame; rows without a label are
                unlabelled images. None where sub-folders are the classes.
            run: folder that predictions and bundle are written into; the same one again goes on.
            test: labels of further images of the folder, to report on; as ``labels``.
            device: auto, cpu, cuda, cuda:N, mps.
            workers: processes that decode images; as the machine has cores if None.
            overwrite: forget the finished steps of the run.
            quiet: print nothing.
            options: any of `paws.config.options.FitOptions`, e.g. ``backbone``, ``views``, ``accuracy`` (docs/options.md).

        Returns:
            The fit: record, predictions, bundle.

        Raises:
            paws.runs.signals.Interrupted: a signal came while the network was trained on, the state is saved, and the calling
                program's own handler, which was called, did not end it.
            InputError: an option that does not exist or is out of bounds, or anything wrong with images, labels or ``run``.
        """
        from paws.config.options import fit_options

        if isinstance(test, str | os.PathLike):
            options["test"], test = test, None
        chosen = fit_options(options)  # before torch is loaded
        for name, path in (("images", images), ("run", run)):
            if not isinstance(path, str | os.PathLike) or "\0" in os.fspath(path):
                raise InputError(f"{name} {path!r}: expected a path")
        for name, value in (("overwrite", overwrite), ("quiet", quiet)):
            if not isinstance(value, bool):
                raise InputError(f"{name} {value!r}: must be True or False")
        if workers is not None and (not isinstance(workers, Integral) or workers < 0):
            raise InputError(f"workers {workers!r}: must be a whole number, at least 0")

        from paws.data.labels import frame_rows
        from paws.fit.pipeline import fit_folder
        from paws.runs.device import device_type
        from paws.runs.signals import Interrupted

        try:
            return fit_folder(
                Path(images),
                frame_rows(labels) if hasattr(labels, "columns") else labels,
                Path(run),
                chosen,
                test=frame_rows(test, "test") if hasattr(test, "columns") else test,
                device=device_type(device, "device "),
                workers=None if workers is None else int(workers),
                overwrite=overwrite,
                quiet=quiet,
            )
        except Interrupted as stop:
            signal.raise_signal(stop.signal_number)  # the state is saved; what follows is the calling program's to say
            raise


sys.modules[__name__].__class__ = _Callable
