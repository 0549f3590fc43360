"""The images of a fit in a folder for each class."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

from paws.classifiers.strangers import STRANGE
from paws.data.labels import listed
from paws.errors import InputError
from paws.fit.record import OWN
from paws.fit.run import FitRun
from paws.runs.files import ADVICE, new_folder, reason_of

LONGEST = 255  # bytes of a name
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{name}{number}" for name in ("COM", "LPT") for number in range(1, 10))}  # of Windows
UNSURE, NONE = "_unsure", "_none"  # folders of what the classifier abstains from, and of what belongs to no class
TAKEN = {*DEVICES, UNSURE.upper(), NONE.upper()}  # names that no class's folder has


def sort_images(run: FitRun, into: Path, *, link: bool = False) -> Counter[str]:
    """Copy the images of ``run`` into ``into``/<class>, below it as they lie in their folder; ``link``: symbolic links instead.

    The label that the user gave decides where there is one. Returns the number of images in each folder.

    Raises:
        InputError: ``into`` exists or lies among the images, two classes would share a folder, or an image is gone or another.
    """
    if run.root.resolve() in (into.resolve(), *into.resolve().parents):
        raise InputError(
            f"{into} lies in the folder of the images, which would hold each of them twice; give a folder beside it"
        )
    if any(folder.parent == run.folder.resolve() and folder.name in OWN for folder in into.resolve().parents):
        raise InputError(f"{into} lies in a folder that the fit itself writes anew; give another one")
    names = {label: folder_name(label) for label in run.record.classes}
    for label, name in names.items():
        others = [other for other, taken in names.items() if taken.casefold() == name.casefold() and other != label]
        if others:
            raise InputError(
                f"the class {label!r} cannot have the folder {name!r}, which is that of {others[0]!r}; rename one of them"
            )
    if changed := run.changed_since(range(len(run.files))):
        title = f"{len(changed)} of {len(run.files)} images are others than when they were fitted; run the same paws fit again"
        raise InputError(listed(title, [str(run.root / run.files[row]) for row in changed]))
    counts: Counter[str] = Counter()
    with new_folder(into, flush=not link) as new:
        for row in run.predictions:
            name = names[row["given"]] if row["given"] in names else _folder(row, names)
            source, target = run.root / row["file"], new / name / row["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.symlink(source, target) if link else shutil.copy2(source, target)
            except OSError as error:
                if error.errno in ADVICE:  # it is about what is written
                    raise InputError(f"{into}: {reason_of(error)}") from None
                raise InputError(f"{source}: {error.strerror or 'it is no plain file'}") from None
            counts[name] += 1
    return counts


def _folder(row: dict[str, str], names: dict[str, str]) -> str:
    """That of a predicted image."""
    if float(row.get("none") or 0) > STRANGE:
        return NONE
    return UNSURE if row["abstain"] == "yes" else names[row["label"]]


def folder_name(label: str) -> str:
    """A class name as the name of a folder on any system; behind an underscore where the name alone is `TAKEN`."""
    name = "".join("_" if letter in '/\\:*?"<>|' or ord(letter) < 32 else letter for letter in label).rstrip(". ")
    if len(name.encode()) > LONGEST:
        raise InputError(f"the class {label!r} has more than {LONGEST} bytes, which no name of a folder has")
    return f"_{name}" if not name or name.partition(".")[0].upper() in TAKEN else name
