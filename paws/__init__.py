"""PAWS: semi-supervised learning of visual features by non-parametrically predicting view assignments with support samples."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from paws.config.threads import wait_passively

if TYPE_CHECKING:
    from paws.bundle.bundle import load_bundle as load
    from paws.estimator import PAWSClassifier
    from paws.model_selection import LabelledKFold, labelled_accuracy

__all__ = ["LabelledKFold", "PAWSClassifier", "fit", "labelled_accuracy", "load"]

wait_passively()


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used: the command line must not wait for torch."""
    if name == "load":
        from paws.bundle.bundle import load_bundle

        return load_bundle
    if name == "fit":
        return import_module("paws.fit")  # a package that can be called
    if name == "PAWSClassifier":
        from paws.estimator import PAWSClassifier

        return PAWSClassifier
    if name in ("LabelledKFold", "labelled_accuracy"):
        return getattr(import_module("paws.model_selection"), name)
    raise AttributeError(f"module 'paws' has no attribute {name!r}")
