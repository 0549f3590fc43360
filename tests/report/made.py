"""Contents of pages, made up: clusters of points with coloured squares as images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from paws.errors import InputError
from paws.metrics import calibration_error, reliability
from paws.report.contents import Contents, Evaluated, Gallery, Headline, Listed, MethodBar

STRANGE = "a folder/<b>&'\"</script> ü 图片.png"


def square(hue: int, step: int = 0) -> Image.Image:
    """A picture that differs by class and by image."""
    y, x = np.mgrid[:48, :48]
    pixels = np.stack([np.full_like(x, (hue * 67) % 256), (5 * x + 3 * step) % 256, (5 * y + 7 * hue) % 256], 2)
    return Image.fromarray(pixels.astype(np.uint8))


def gallery(classes: int, labelled: int, unlabelled: int, missing: tuple[int, ...] = ()) -> Gallery:
    """``labelled`` images after ``unlabelled`` ones; ``missing`` rows have no file; the first has a strange name."""
    draws = np.random.default_rng(0)
    n = labelled + unlabelled
    kind = np.arange(n) % classes
    centres = draws.normal(size=(classes, 16)) * 4
    given = np.where(np.arange(n) < unlabelled, -1, kind)
    wrong = draws.random(n) < 0.2
    predicted = np.where((given < 0) & wrong, (kind + 1) % classes, kind)

    def open_picture(i: int) -> Image.Image:
        if i in missing:
            raise InputError(f"image {i}: no such file")
        return square(int(kind[i]), i)

    probability = np.where(given < 0, np.where(wrong, 0.35, 0.6) + 0.3 * draws.random(n), 1.0)
    near = np.stack([unlabelled + (kind + classes * shift) % max(1, labelled) for shift in range(3)], 1)
    return Gallery(
        names=[STRANGE, *(f"images/{i:05d}.png" for i in range(1, n))],
        given=given,
        truth=kind,
        predicted=predicted,
        probability=probability,
        embedding=centres[kind] + draws.normal(size=(n, 16)),
        open=open_picture,
        abstains=(probability < 0.5),
        unfamiliar=np.where(given < 0, draws.random(n), 0),
        none=np.where(given < 0, draws.random(n) ** 2, 0),
        neighbours=np.where(given[:, None] < 0, near, -1),
        weights=np.where(given[:, None] < 0, [[0.6, 0.25, 0.1]], 0.0),
        of=10 * n,
    )


def evaluated(truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, on: str = "") -> Evaluated:
    """Predictions with their calibration."""
    measured = torch.from_numpy(confidence), torch.from_numpy(truth == predicted)
    return Evaluated(truth, predicted, confidence, on, calibration_error(*measured), reliability(*measured))


def contents(classes: int = 5, labelled: int = 20, unlabelled: int = 120, missing: tuple[int, ...] = ()) -> Contents:
    """A page with every part filled."""
    draws = np.random.default_rng(1)
    shown = gallery(classes, labelled, unlabelled, missing)
    truth = np.arange(400) % classes
    predicted = np.where(draws.random(400) < 0.8, truth, draws.integers(0, classes, 400))
    confidence = 0.5 + 0.5 * draws.random(400)
    names = tuple(f"class {c}" for c in range(classes - 1)) + ("<i>odd</i> & long name of a class",)
    rows = [
        {"step": s, "loss": 2 / s, "cross_entropy": 1.5 / s, "me_max": -1 - s / 500, "lr": 1e-3 * (1 - s / 500)}
        for s in range(10, 500, 10)
    ]
    return Contents(
        title="made up",
        summary="A page that a test made up.",
        classes=names,
        headline=Headline(0.812, (0.77, 0.85), "right on 400 held-out images."),
        facts=(("1,400", "images"), ("20", "labelled"), ("12 %", "left to a person"), ("3", "unreadable files")),
        notes=("Each class has one label: nothing could be held out.",),
        bars=(
            MethodBar("PAWS", 0.812, (0.77, 0.85), True, 0.79),
            MethodBar("logistic regression", 0.7, (0.65, 0.75), False, 0.71),
        ),
        measured_on="400 held-out images",
        verdict="PAWS is best on the labelled images.",
        curves=tuple(rows),
        evaluated=evaluated(truth, predicted, confidence, "400 held-out images"),
        threshold=0.6,
        labelled=np.bincount(np.arange(labelled) % classes, minlength=classes),
        shares=np.bincount(predicted, minlength=classes) / 400,
        gallery=shown,
        suspicious=(Listed(STRANGE, lambda: square(1), ("labelled class 0", "more likely class 1, 88 %")),),
        suggestions=(Listed("images/00003.png", lambda: square(2), ("class 1 48 % or class 2 40 %",)),),
        about={"run": {"folder": "runs/made up"}, "versions": {"paws": "0"}},
    )
