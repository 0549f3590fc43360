"""What is chosen without any label that a model has seen: settings, heads, and the method in use."""

from __future__ import annotations

from collections.abc import Sequence

from paws.errors import InputError
from paws.fit.compare import BASELINES, Score
from paws.fit.ensemble import Member

METHODS = ("PAWS", *BASELINES)
SHORT = {"paws": "PAWS", "knn": "nearest neighbours", "logistic": "logistic regression", "spreading": "LabelSpreading"}


def method_named(model: str) -> str | None:
    """The method that an option names, in full or in short; None for "auto".

    Raises:
        InputError: there is no such method.
    """
    if model == "auto":
        return None
    name = SHORT.get(model, model)
    if name not in METHODS:
        raise InputError(f"model {model!r} is not one of auto, {', '.join([*SHORT, *METHODS])}")
    return name


def steadiest(members: Sequence[Member]) -> list[Member]:
    """The half of the heads whose views agree most."""
    order = sorted(members, key=lambda member: -member.agreement)
    return order[: -(-len(order) // 2)]


def choose(scores: Sequence[Score], asked: str | None, agreement: float, held: int) -> tuple[str, str]:
    """The method in use and one sentence why; ``held`` labels could be held out to compare by."""
    if asked is not None:
        return asked, f"{asked} was asked for."
    if not held:
        return "PAWS", (
            "Every class has a single label, so none can be held out to compare the methods; PAWS's heads were chosen by how "
            f"well two views of an image agree ({agreement:.0%} do)."
        )
    best = max(scores, key=lambda score: score.accuracy)
    ours = next(score for score in scores if score.method == "PAWS")
    if best.accuracy > ours.accuracy:
        return best.method, (
            f"{best.method} names {best.accuracy:.1%} of {held} held-out labels rightly, PAWS {ours.accuracy:.1%}."
        )
    return "PAWS", f"PAWS names {ours.accuracy:.1%} of {held} held-out labels rightly, and no baseline more."
