"""Images with equal bytes: which they are, and what they mean for labels and test labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from paws.data.labels import listed
from paws.data.texts import counted

SHOWN = 5  # pairs of a kind that are named


def copy_groups(contents: Sequence[str]) -> Tensor:
    """A number (N,) int64 for each image, the same for images whose ``contents`` (digests of their bytes) are equal."""
    number: dict[str, int] = {}
    return torch.tensor([number.setdefault(content, len(number)) for content in contents], dtype=torch.int64)


def told_copies(names: Sequence[str], labels: Tensor, test: Tensor, groups: Tensor, classes: Sequence[str]) -> list[str]:
    """What to say of copies among N images: ``labels`` and ``test`` (N,) are class ids, -1 where there is none."""
    members = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        members[group].append(row)
    truth = torch.where(labels >= 0, labels, test).tolist()
    trained, tested = (labels >= 0).tolist(), (test >= 0).tolist()
    among, across, contradictions, extra, plain = [], [], [], 0, 0
    for rows in members.values():
        if len(rows) < 2:
            continue
        known = [row for row in rows if trained[row]]
        held = [row for row in rows if tested[row]]
        extra += max(0, len(known) - 1)
        among += [f"{names[row]} is {names[known[0]]}" for row in known[1:]]
        across += [f"{names[row]} is {names[known[0]]}" for row in held if known]
        plain += len(rows) - len(known) - len(held) if known else 0
        first = next((row for row in rows if truth[row] >= 0), rows[0])
        contradictions += [
            f"{names[first]} is {classes[truth[first]]!r}, its copy {names[row]} is {classes[truth[row]]!r}"
            for row in rows
            if truth[row] >= 0 and truth[row] != truth[first]
        ]
    told = []
    if extra:
        told.append(_few(f"{extra} labelled images are copies of others; copies are held out together", among))
    if across:
        told.append(_few(f"{len(across)} test images are copies of labelled ones: the test figure is too good", across))
    if contradictions:
        told.append(listed(f"{len(contradictions)} copies have another label than their first", contradictions))
    if plain:
        told.append(f"{counted(plain, 'image')} without a label {'is a copy' if plain == 1 else 'are copies'} of labelled ones")
    return told


def _few(title: str, pairs: Sequence[str]) -> str:
    more = f", and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return f"{title} ({', '.join(pairs[:SHOWN])}{more})"
