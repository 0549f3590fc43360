"""Class frequencies of the pool, as an option gives them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from paws.errors import InputError

MANY = 12  # classes that a message names


def class_prior(prior: str | Sequence[float] | None, labels: Tensor, classes: Sequence[str]) -> Tensor | None:
    """The frequencies (C,) that an option stands for, or None where they are to be estimated (`paws.classifiers.frequencies`).

    "estimate" or None; "uniform"; "labels": as often as among the labelled images; or C explicit positive numbers in the order
    of ``classes``, scaled to sum to 1.

    Raises:
        InputError: another word, or numbers that do not fit the classes.
    """
    if prior is None or prior == "estimate":
        return None
    num_classes = len(classes)
    named = ", ".join(classes[:MANY]) + (", ..." if num_classes > MANY else "")
    if prior == "uniform":
        return torch.full((num_classes,), 1 / num_classes)
    if prior == "labels":
        counts = torch.bincount(labels[labels >= 0], minlength=num_classes).float()
        return counts / counts.sum()
    if isinstance(prior, str):
        raise InputError(f"prior {prior!r} is neither estimate, uniform nor labels nor {num_classes} numbers, of {named}")
    frequencies = torch.tensor(list(prior), dtype=torch.float32)
    if len(frequencies) != num_classes or not bool((frequencies > 0).all()) or not bool(frequencies.isfinite().all()):
        raise InputError(f"prior {list(prior)}: give one positive number for each of the {num_classes} classes {named}")
    return frequencies / frequencies.sum()
