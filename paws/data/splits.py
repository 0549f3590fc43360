"""Which training images are labelled: read from a split file or drawn per class, and written for others to use.

The formats are the published ones: a line holds the index of an image (CIFAR), or its name (ImageNet's
``wnid_num.JPEG``, which lies in the folder ``wnid``). Images of other folders are written as ``class/file``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from paws.data.support import check_every_class
from paws.errors import InputError
from paws.runs.files import write_text
from paws.seeds import python_random

PUBLIC = "https://raw.githubusercontent.com/facebookresearch/suncet/main"
PUBLIC_SPLITS = {
    **{f"cifar10-{seed}": f"cifar10_subsets/spc.4000_split.{seed}.txt" for seed in (73, 91, 152, 321, 401)},
    "imagenet-10percent": "imagenet_subsets/90percent.txt",  # named after the share of images WITHOUT a label
    "imagenet-1percent": "imagenet_subsets/99percent.txt",
    "imagenet-val": "imagenet_subsets/val.txt",
}


def labelled(
    labels: Tensor,
    *,
    file: str | Path | None = None,
    per_class: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> Tensor:
    """Indices int64 of the labelled images among the training images with class ids ``labels`` (N,), -1 where unknown.

    Give at most one of: ``file`` (its order is kept), ``per_class`` (that many of each class), ``fraction`` in (0, 1]
    (of each class, at least one); without, all images with a known class. Draws are sorted.
    ``names``: the images' paths relative to the folder of classes; ``classes``: names for messages.
    Raises InputError for a file that is missing or wrong (see ``read_split``), more images per class than there are,
    and a class of which no image is labelled.
    """
    if sum(option is not None for option in (file, per_class, fraction)) > 1:
        raise InputError("labels: give one of split file, per_class and fraction, not several")
    if file is not None:
        indices = read_split(file, len(labels), names)
        unknown = indices[labels[indices] < 0]
        if len(unknown):
            raise InputError(f"{file}: names image {int(unknown[0])}, whose class is not known")
    elif per_class is not None or fraction is not None:
        indices = _draw(labels, per_class, fraction, seed, classes)
    else:
        indices = (labels >= 0).nonzero().flatten()
    num_classes = len(classes) if classes else int(labels.max()) + 1 if len(labels) else 0
    try:
        check_every_class(labels[indices], num_classes, classes)
    except InputError as error:
        raise InputError(f"{file or 'labels'}: {error}") from None
    return indices


def draw_validation(
    labels: Tensor, chosen: Tensor, per_class: int, *, seed: int = 0, classes: Sequence[str] | None = None
) -> Tensor:
    """Indices int64 (sorted) of ``per_class`` images of each class that are not among the labelled ones ``chosen``.

    Raises InputError naming a class that has not so many left.
    """
    left = labels.index_fill(0, chosen, -1)
    counts = torch.bincount(left[left >= 0], minlength=int(labels.max()) + 1).tolist()
    for c, count in enumerate(counts):
        if count < per_class:
            name = classes[c] if classes else c
            raise InputError(
                f"validation: {per_class} images of each class are asked for, but class {name} has {count} "
                "besides the labelled ones"
            )
    return _draw(left, per_class, None, seed, classes, purpose="validation split")


def only_labelled(labels: Tensor, indices: Tensor) -> Tensor:
    """``labels`` (N,) with -1 for all but ``indices``: what a run may know."""
    return torch.full_like(labels, -1).index_copy(0, indices, labels[indices])


def check_disjoint(train: Tensor, validation: Tensor, file: str | Path) -> None:
    """Raise InputError if an image of ``validation`` (indices, read from ``file``) is among the labelled ``train``."""
    shared = validation[torch.isin(validation, train)]
    if len(shared):
        raise InputError(
            f"{file}: {len(shared)} validation images are also labelled training images (first: image {int(shared[0])})"
        )


def read_split(file: str | Path, num_images: int, names: Sequence[str] | None = None) -> Tensor:
    """The image indices int64 in a split file, in its order.

    Raises InputError, naming file and line, for a missing or empty file, an index outside of 0..num_images - 1, an
    image or class that ``names`` do not hold, and an image that stands there twice.
    """
    path = Path(file).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; a split file has one image index or name per line") from None
    entries = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not entries:
        raise InputError(f"{path}: is empty; a split file has one image index or name per line")
    if all(re.fullmatch(r"-?\d+", entry) for entry in entries.values()):
        indices = {number: int(entry) for number, entry in entries.items()}
        for number, index in indices.items():
            if not 0 <= index < num_images:
                raise InputError(f"{path}:{number}: index {index} is outside of the {num_images} training images")
    elif names is None:
        raise InputError(f"{path}: holds image names, but this dataset has none; give one index per line")
    else:
        indices = _look_up(path, entries, names)
    seen: dict[int, int] = {}
    for number, index in indices.items():
        if seen.setdefault(index, number) != number:
            raise InputError(f"{path}:{number}: {entries[number]} stands already in line {seen[index]}")
    return torch.tensor(list(indices.values()), dtype=torch.int64)


def write_split(path: str | Path, indices: Tensor, names: Sequence[str] | None = None) -> None:
    """Write ``indices`` one per line, or as image names if the images have ``names`` (class/file). Never overwrites."""
    path = Path(path).expanduser()
    lines = (str(i) if names is None else _short_name(names[i]) for i in indices.tolist())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    write_text(path, "".join(f"{line}\n" for line in lines), new=True)


def public_url(name: str) -> str:
    """The address of one of the ``PUBLIC_SPLITS``; an address stays as it is. Raises InputError for an unknown name."""
    if "://" in name:
        return name
    if name not in PUBLIC_SPLITS:
        raise InputError(f"{name}: neither an address (https://...) nor a public split ({', '.join(PUBLIC_SPLITS)})")
    return f"{PUBLIC}/{PUBLIC_SPLITS[name]}"


def _draw(
    labels: Tensor,
    per_class: int | None,
    fraction: float | None,
    seed: int,
    classes: Sequence[str] | None,
    purpose: str = "split",
) -> Tensor:
    if per_class is not None and per_class < 1:
        raise InputError(f"labels.per_class is {per_class}, must be at least 1")
    if fraction is not None and not 0 < fraction <= 1:
        raise InputError(f"labels.fraction is {fraction}, must be above 0 and at most 1")
    order = torch.argsort(labels, stable=True)[int((labels < 0).sum()) :]
    counts = torch.bincount(labels[labels >= 0]).tolist()
    chosen: list[int] = []
    start = 0
    for c, count in enumerate(counts):
        wanted = per_class if fraction is None else min(count, max(1, round(fraction * count)))
        if wanted is None or wanted > count:
            name = classes[c] if classes else c
            raise InputError(f"labels.per_class is {wanted}, but class {name} has {count} images")
        chosen += python_random(seed, purpose, c).sample(range(start, start + count), wanted)
        start += count
    return order[torch.tensor(chosen, dtype=torch.int64)].sort().values


def _short_name(name: str) -> str:
    """``wnid/wnid_num.JPEG`` -> ``wnid_num.JPEG``; any other ``class/file`` stays."""
    folder, _, file = name.rpartition("/")
    return file if folder and file.rpartition("_")[0] == folder else name


def _look_up(path: Path, entries: dict[int, str], names: Sequence[str]) -> dict[int, int]:
    """Line number -> image index. One pass over the names, which may be more than a million."""
    wanted = {entry if "/" in entry else f"{entry.rpartition('_')[0]}/{entry}" for entry in entries.values()}
    index_of = {name: index for index, name in enumerate(names) if name in wanted}
    found = {}
    for number, entry in entries.items():
        name = entry if "/" in entry else f"{entry.rpartition('_')[0]}/{entry}"
        if name not in index_of:
            folder = name.partition("/")[0]
            known = any(other.startswith(f"{folder}/") for other in names)
            what = "there is no such image" if known else f"there is no class {folder!r}"
            raise InputError(f"{path}:{number}: {entry}: {what} among the training images")
        found[number] = index_of[name]
    return found
