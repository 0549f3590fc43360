"""Ten corrected labels in a fit of 10,000 images, from start-up to the new table: `python -m benchmarks.relabel [--quick]`.

Wall time of ``paws labels RUN --csv new.csv`` in a process of its own, start-up included; the best of several, beside the
CPU-seconds. The fit is made up: random features of 1,280 numbers in 6 views, 100 labels, a head for each fold.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.side_by_side import Figure, finish
from paws.bundle.bundle import load_bundle, save_bundle
from paws.classifiers.classifier import Classifier
from paws.classifiers.heads import HeadSettings
from paws.classifiers.paws_ensemble import PawsEnsemble, head
from paws.fit import record, tables
from paws.fit.feature_file import ABOUT, ROW, checksums
from paws.fit.fit import WIDTH
from paws.models.frozen import Frozen

IMAGES, VIEWS, DIM, CLASSES, LABELS, CORRECTED, BAR = 10_000, 6, 1280, 10, 100, 10, 5.0


def made_up_fit(run: Path) -> None:
    """A finished fit in the folder ``run``, and ``new.csv`` beside it."""
    classes, names = [f"class {c}" for c in range(CLASSES)], [f"{i:05}.png" for i in range(IMAGES)]
    features = np.random.default_rng(0).standard_normal((IMAGES, VIEWS, DIM), np.float32).astype(np.float16)
    store = run / record.FEATURES
    store.mkdir(parents=True)
    features.tofile(store / "a.f16")
    rows = np.zeros(IMAGES, ROW)
    rows["checksum"] = checksums(rows["content"], features)
    rows.tofile(store / "a.rows")
    (store / ABOUT).write_text(json.dumps({"shape": features.shape, "features": "a.f16", "rows": "a.rows"}))
    plain = torch.from_numpy(features[:, 0].copy()).float()
    settings = HeadSettings()
    heads = [head(WIDTH, settings.hidden_dim, settings.out_dim) for _ in range(settings.heads)]
    vote = PawsEnsemble(CLASSES, heads, settings.temperature, torch.nn.Linear(DIM, WIDTH, bias=False))
    given = torch.arange(LABELS) % CLASSES
    classifier = Classifier(classes, vote, torch.zeros(DIM), torch.ones(DIM), plain[:LABELS], given)
    weights = {"weights": torch.zeros(3_400_000)}  # as many as EfficientNet-Lite0 has; nothing here builds the network
    frozen = Frozen("tf_efficientnet_lite0", 64, (0.5,) * 3, (0.5,) * 3, "bicubic", DIM, lambda: weights)
    save_bundle(run / record.BUNDLE, classifier, frozen, names[:LABELS])
    labels = [classes[c] for c in given.tolist()] + [""] * (IMAGES - LABELS)
    tables.write_predictions(run, load_bundle(run / record.BUNDLE).predict_features(names, plain), labels)
    ids = given.tolist() + [-1] * (IMAGES - LABELS)
    folds = [row % settings.heads for row in range(LABELS)]
    tables.write_files(run, names, ids, [*folds, *[None] * (IMAGES - LABELS)], range(IMAGES), {})
    record.write_record(run, made_up_record(run, classes))
    rows = [f"{names[i]},{classes[(i + 1) % CLASSES]}" for i in range(CORRECTED)]
    (run.parent / "new.csv").write_text("\n".join(["file,label", *rows]) + "\n")


def made_up_record(run: Path, classes: list[str]) -> record.FitRecord:
    """What fit.json says of the fit in the folder ``run``."""
    return record.FitRecord(
        key="made up",
        images=str(run.parent),
        labels=None,
        settings={"seed": 0},
        backbone={},
        head={},
        classes=tuple(classes),
        counts=dict.fromkeys(classes, LABELS // CLASSES),
        image_count=IMAGES,
        label_count=LABELS,
        scores=(record.Score(method="paws"),),
        chosen="paws",
        threshold=record.Figure(value=0.0),
        versions={},
    )


def main() -> None:
    """Print seconds and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two runs instead of seven")
    rounds = 2 if parser.parse_args().quick else 7
    seconds, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            run = Path(folder) / f"run-{len(seconds)}"
            made_up_fit(run)
            used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            command = [sys.executable, "-m", "paws", "labels", str(run), "--csv", f"{folder}/new.csv"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds.append(time.monotonic() - began)
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)
            assert f"{CORRECTED} corrected" in done.stdout
            print(f"{seconds[-1]:.1f} s, {cpu[-1]:.1f} CPU-seconds", flush=True)
    figure = Figure("ten corrections on 10,000 images, s", round(min(seconds), 2), BAR, higher_is_better=False, timing=True)
    finish(figure, cpu_seconds=round(min(cpu), 2))


if __name__ == "__main__":
    main()
