"""Which training images are labelled: a split file, a number per class, or a fraction of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from paws.errors import InputError
from paws.seeds import generator


def labelled_indices(
    labels: Tensor,
    classes: tuple[str, ...],
    *,
    file: Path | None = None,
    per_class: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> Tensor:
    """Indices of the labelled images among labels (N,), by exactly one of the three ways; all of them without any.

    ``file`` keeps its order of lines; ``names`` (N,) are the relative paths that lines of file names refer to. The draws
    are stratified, take at least one image per class, and are sorted.

    Raises:
        InputError: a line that is out of range, twice in the file or unknown; a class that is left without a label.
    """
    if file is not None:
        indices = read_split(file, len(labels), names)
    elif per_class is not None or fraction is not None:
        parts = []
        for c in range(len(classes)):
            members = (labels == c).nonzero()[:, 0]
            count = per_class if per_class is not None else max(1, round(float(fraction or 0) * len(members)))
            if per_class is not None and count > len(members):
                raise InputError(
                    f"data.labels.per_class={per_class}: class {classes[c]} has only {len(members)} images"
                )
            parts.append(members[torch.randperm(len(members), generator=generator(seed, "labels", c))[:count]])
        indices = torch.cat(parts).sort().values
    else:
        indices = (labels >= 0).nonzero()[:, 0]
    counts = torch.bincount(labels[indices].clamp_min(0), minlength=len(classes))
    missing = [classes[c] for c in range(len(classes)) if counts[c] == 0]
    if missing:
        where = f"{file}: " if file else "data.labels: "
        raise InputError(
            f"{where}class {', '.join(missing[:10])} has no labelled image; every class needs at least one"
        )
    return indices


def read_split(file: Path, size: int, names: Sequence[str] | None = None) -> Tensor:
    """The indices (M,) that a split file names, in its order: one index, or one file name (``n01440764_10026.JPEG``), per line.

    Raises:
        InputError: naming file and line.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: the split file cannot be read: {error}") from None
    entries = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not entries:
        raise InputError(f"{file}: the split file is empty; expected one index or file name per line")
    by_name: dict[str, int] = {}
    if not all(line.isdigit() for _, line in entries) and names is not None:
        for index, name in enumerate(names):
            by_name[name] = by_name[name.rsplit("/", 1)[-1]] = index
    seen: dict[int, int] = {}
    for number, line in entries:
        index = by_name.get(line) if by_name else (int(line) if line.isdigit() else None)
        if index is None:
            raise InputError(f"{file}, line {number}: {line!r} names no training image")
        if not 0 <= index < size:
            raise InputError(
                f"{file}, line {number}: index {index} is out of range; the set has {size} images (0..{size - 1})"
            )
        if index in seen:
            raise InputError(f"{file}, line {number}: {line!r} stands already in line {seen[index]}")
        seen[index] = number
    return torch.tensor(list(seen))


def write_split(file: Path, indices: Tensor, names: Sequence[str] | None = None) -> None:
    """Write a split file: file names where there are any (their last part), else indices."""
    lines = [names[int(i)].rsplit("/", 1)[-1] if names is not None else str(int(i)) for i in indices]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
