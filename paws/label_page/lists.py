"""Lists for a second look: doubtful labels, pictures that are nearly the same, labels that contradict each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import torch

from paws.label_page.engine import Engine
from paws.label_page.session import Picture
from paws.labels.issues import rank_labels

SHOWN = 60
JUDGED = 2000  # labelled pictures at most whose labels are ranked
NEIGHBOURS, SAME = 8, 23  # labelled pictures that voted, and pictures that look the same, of one picture


def doubtful(engine: Engine, pictures: list[Picture]) -> list[dict[str, Any]]:
    """Labels that the other labelled pictures contradict, most doubtful first, without those that were looked at again."""
    belief, votes = engine.belief, engine.pool.votes
    rows = [row for row, p in enumerate(pictures) if p.label in belief.classes and bool(belief.ready[row])][:JUDGED]
    ids = {name: c for c, name in enumerate(belief.classes)}
    if votes is None or len(rows) < 3 or len(ids) < 2:
        return []
    labels = torch.tensor([ids[str(pictures[row].label)] for row in rows])
    held_out = torch.full((len(rows), len(ids)), torch.nan)
    for i, row in enumerate(rows):
        if row in (told := belief.held_out or {}):
            name, p = told[row]
            held_out[i] = (1 - p) / (len(ids) - 1)
            held_out[i, ids[name]] = p
    ranked = rank_labels(votes.z[rows], labels, len(ids), held_out)
    return [
        {
            "row": rows[issue.row],
            "label": belief.classes[issue.given],
            "like": belief.classes[issue.expected],
            "doubt": issue.score,
        }
        for issue in ranked[:SHOWN]
        if issue.given != issue.expected and not pictures[rows[issue.row]].sure
    ]


def copies(engine: Engine, pictures: list[Picture]) -> list[dict[str, Any]]:
    """Pairs of pictures that are equal or nearly so, those with different labels first."""
    same = defaultdict(list)
    for row, content in enumerate(engine.contents):
        if content:
            same[content].append(row)
    pairs = {(rows[0], other): 1.0 for rows in same.values() for other in rows[1:]}
    exact = set(pairs)
    for a, b, cosine in engine.pairs:
        pairs.setdefault((a, b), cosine)
    found: list[dict[str, Any]] = []
    for (a, b), cosine in pairs.items():
        labels = (pictures[a].label, pictures[b].label)
        known = [label for label in labels if label is not None]
        state = "different" if len(set(known)) > 1 else "one" if len(known) == 1 else "same"
        found.append({"rows": [a, b], "alike": cosine, "equal": (a, b) in exact, "labels": labels, "state": state})
    found.sort(key=lambda pair: (("different", "one", "same").index(str(pair["state"])), -float(pair["alike"])))
    return found[:SHOWN]


def look(engine: Engine, row: int, pictures: list[Picture]) -> dict[str, Any]:
    """One picture: what the labelled ones say of it, which of them are nearest, and what else looks the same."""
    belief, votes = engine.belief, engine.pool.votes
    found: dict[str, Any] = {"row": row, "vote": [], "voters": [], "same": []}
    if votes is None or not bool(belief.ready[row]):
        return found
    near = votes.kernel(votes.z[row : row + 1])[:, 0] * votes.ready
    near[row] = 0
    found["vote"] = top_classes(belief.probabilities[row].tolist(), belief.classes)
    found["voters"] = voters(near, pictures)
    waiting = torch.tensor([other for other, p in enumerate(pictures) if p.open and other != row], dtype=torch.int64)
    best = near[waiting].topk(min(SAME, len(waiting)))
    found["same"] = [int(waiting[i]) for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True) if value > 0]
    return found


def voters(near: torch.Tensor, pictures: list[Picture]) -> list[dict[str, Any]]:
    """The labelled pictures of most weight, by how near (N,) all are, 0 where that is unknown, with their share of the vote."""
    labels = {row: p.label for row, (p, k) in enumerate(zip(pictures, near.tolist(), strict=True)) if p.label and k > 0}
    counts = Counter(labels.values())
    weights = {row: float(near[row]) / counts[name] for row, name in labels.items()}
    total = sum(weights.values())
    best = sorted(weights, key=lambda row: -weights[row])[:NEIGHBOURS]
    return [{"row": row, "label": labels[row], "weight": weights[row] / total} for row in best]


def top_classes(probabilities: list[float], classes: tuple[str, ...], count: int = 5) -> list[list[Any]]:
    """The most probable classes, each with its probability."""
    if len(classes) < 2:
        return []
    order = sorted(range(min(len(probabilities), len(classes))), key=lambda c: -probabilities[c])[:count]
    return [[classes[c], round(probabilities[c], 4)] for c in order]
