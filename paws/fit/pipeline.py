"""From a folder of images and a few labels to predictions and a bundle, in steps of which each is done only if it must be.

check -> embed -> fit (train the head, compare with baselines, choose) -> predict
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paws.bundle import Bundle, load_bundle, save_bundle
from paws.checkpoint import run_lock
from paws.data.folder import FileSet
from paws.errors import InputError
from paws.fit import record
from paws.fit.check import Checked, check_folder, remember
from paws.fit.embed import FeatureStore, stamps
from paws.fit.fit import Fitted, fit_features
from paws.fit.head import HeadSettings
from paws.fit.options import FitOptions, check_options, clear, default_workers, read_record
from paws.fit.prior import class_prior
from paws.fit.record import FitRun, load_fit
from paws.fit.steps import Steps
from paws.models.frozen import Frozen, frozen_backbone

CHUNK = 4096  # images predicted at a time


def fit_folder(
    images: Path,
    labels: Path | None,
    run: Path,
    options: FitOptions = FitOptions(),
    *,
    device: str = "cpu",
    workers: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> FitRun:
    """Fit a classifier to the images of a folder and write predictions and a bundle into ``run``.

    Called again with the same ``run``, finished steps are taken from it; a step whose input changed is done anew, and a
    killed one goes on where it was. ``overwrite`` forgets them all. ``workers`` processes decode images; as the machine has
    cores if None.

    Raises:
        InputError: anything wrong with the folder, the labels, the backbone or ``run``; all that is wrong with images and
            labels at once, before anything is written.
    """
    check_options(images, run, options, overwrite)
    workers = default_workers() if workers is None else workers
    steps = Steps(quiet=quiet)
    known = run / record.CHECKED
    with steps.step("check") as advance:
        checked = check_folder(
            images,
            labels,
            test=None if options.test is None else Path(options.test),
            skip_broken=options.skip_broken,
            known=known if known.is_file() and not overwrite else None,
            workers=workers,
            advance=advance,
        )
    steps.tell("check", _about(checked))
    class_prior(options.prior, checked.files.labels, len(checked.files.classes))  # raises what is wrong with it
    frozen = frozen_backbone(options.backbone, options.weights, options.image_size)
    with run_lock(run):
        if overwrite:
            clear(run)
        remember(known, checked)
        features = _embed(run, checked.files, frozen, options, steps, device, workers)
        _fit(run, images, labels, checked, frozen, features, options, steps, device)
        _predict(run, checked, features, steps)
    return load_fit(run)


def _about(checked: Checked) -> str:
    labelled = int((checked.files.labels >= 0).sum())
    counts = ", ".join(f"{name} {count}" for name, count in list(checked.counts.items())[:12])
    more = f", and {len(checked.counts) - 12} more" if len(checked.counts) > 12 else ""
    text = f"{len(checked.files)} images, {labelled} labelled ({counts}{more})"
    text += f"; {len(checked.unreadable)} cannot be read and are left out" if checked.unreadable else ""
    return text + (f"; only one label for {', '.join(checked.sparse)}" if checked.sparse else "")


def _embed(
    run: Path, files: FileSet, frozen: Frozen, options: FitOptions, steps: Steps, device: str, workers: int
) -> np.memmap:
    store = FeatureStore(run / record.FEATURES, files, frozen, options.views)
    missing = store.missing
    with steps.step("embed", len(files)) as advance:
        advance(len(files) - missing)
        features = store.fill(device=device, workers=workers, advance=advance)
    what = f"{frozen.name} at {frozen.size} pixels, 1 + {options.views} views of each image"
    if not missing:
        steps.tell("embed", f"unchanged ({what})")
    else:
        kept = f", {len(files) - missing} were there" if missing < len(files) else ""
        seconds = steps.seconds["embed"]
        steps.tell("embed", f"{missing} images{kept}: {what}; {seconds:.1f} s, {missing / max(seconds, 0.01):.0f} images/s")
    return features


def _fit(
    run: Path,
    images: Path,
    labels: Path | None,
    checked: Checked,
    frozen: Frozen,
    features: np.memmap,
    options: FitOptions,
    steps: Steps,
    device: str,
) -> None:
    key = _key(checked, frozen, options)
    former = read_record(run)
    if former.get("key") == key and _intact(run):
        steps.tell("fit", f"unchanged ({former['chosen']})")
        return
    for name in (record.RECORD, record.PREDICTIONS):  # from here on the run is unfinished
        (run / name).unlink(missing_ok=True)
    with steps.step("fit") as advance:
        told = [0.0]

        def progress(what: str, share: float) -> None:
            advance(100 * (share - told[0]))
            told[0] = share

        fitted = fit_labelled(features, checked.files, checked.test, options, device=device, progress=progress)
    names = [checked.files.names[row] for row in (checked.files.labels >= 0).nonzero().flatten().tolist()]
    about = {"chosen": fitted.chosen, "accuracy": options.accuracy, "views": options.views, "seed": options.seed}
    save_bundle(run / record.BUNDLE, fitted.classifier, frozen, names, {"fit": about})
    record.write_held_out(run, checked.files, fitted)
    record.write_metrics(run, fitted)
    record.write_record(
        run,
        files=checked.files,
        fitted=fitted,
        about={
            "key": key,
            "images": str(images.absolute()),
            "labels": None if labels is None else str(labels),
            "settings": asdict(options),
            "backbone": frozen.config(),
            "counts": checked.counts,
            "unreadable": checked.unreadable,
            "seconds": steps.seconds,
        },
    )
    steps.tell("fit", f"{fitted.chosen}: {fitted.reason}")


def fit_labelled(
    features: np.ndarray, files: FileSet, test: Tensor, options: FitOptions, *, device: str, progress: Any = None
) -> Fitted:
    """`fit_features` on all images but those of the test labels, which are only reported on."""
    held = test >= 0
    views: Any = features
    labels, tested = files.labels, None
    if bool(held.any()):
        tested = (torch.from_numpy(np.array(features[held.numpy(), 0])).float(), test[held])
        views, labels = features[~held.numpy()], labels[~held]
    return fit_features(
        views,
        labels,
        files.classes,
        seed=options.seed,
        model=options.model,
        prior=options.prior,
        accuracy=options.accuracy,
        test=tested,
        settings=HeadSettings(steps=options.steps),
        device=device,
        progress=progress,
    )


def _key(checked: Checked, frozen: Frozen, options: FitOptions) -> str:
    """Names everything that the fit depends on."""
    given = [checked.files.labels.tolist(), list(checked.files.classes), checked.test.tolist()]
    chosen = {name: value for name, value in asdict(options).items() if name not in ("backbone", "weights", "test")}
    text = json.dumps([stamps(checked.files), given, chosen, frozen.config()], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _intact(run: Path) -> bool:
    try:
        load_bundle(run / record.BUNDLE)
    except InputError:
        return False
    return (run / record.HELD_OUT).is_file()


def _predict(run: Path, checked: Checked, features: np.memmap, steps: Steps) -> None:
    if (run / record.PREDICTIONS).is_file():
        steps.tell("predict", "unchanged")
        return
    bundle = load_bundle(run / record.BUNDLE)
    with steps.step("predict", len(checked.files)) as advance:
        given = [checked.files.classes[y] if y >= 0 else "" for y in checked.files.labels.tolist()]
        abstained = record.write_predictions(run, _predicted(bundle, checked.files, features, advance), given)
    share = abstained / len(checked.files)
    steps.tell("predict", f"{len(checked.files)} images; it abstains from {share:.0%} of them")


def _predicted(bundle: Bundle, files: FileSet, features: np.memmap, advance: Any) -> Any:
    for start in range(0, len(files), CHUNK):
        plain = torch.from_numpy(np.array(features[start : start + CHUNK, 0])).float()  # (n, D)
        yield from bundle.predict_features(files.names[start : start + len(plain)], plain)
        advance(len(plain))
