"""What to label next: images that stand for many others, and, once there are labels, for many that the model is unsure of.

One greedy rule serves both (MaxHerding, arXiv 2407.12212, and its uncertainty-weighted form, arXiv 2412.20892): pick the image
that adds most to the coverage ``sum_i u_i max_j k(x_i, x_j)``, where j runs over the labelled and the chosen images, k falls
with the distance in the embedding, and u_i is how unsure the model is of image i (1 before any label exists). A typical image
covers many neighbours, and an image near a chosen one covers little that is new, so the picks are typical and diverse at once.

Letters: N images, P width of the embedding, C classes, L labelled images, R images that are to be covered.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.bundle.table import write_new_table
from paws.data.texts import counted
from paws.errors import InputError
from paws.seeds import generator

if TYPE_CHECKING:
    from paws.fit.run import FitRun

MOST_COVERED = 5_000  # images whose coverage is counted; of more, a random part stands for all
PAIRS = 500  # images from which the distances of pairs are estimated
CHUNK = 1024
LOOK_AGAIN = 32  # old gains computed anew at a time
WORTH_SAYING = 0.05  # probability of a second class
COMPONENTS = 64  # of the features, before a label exists


@dataclass(frozen=True)
class Suggestion:
    """An image to label: its row, why, the share of the (unsure) images it newly covers, in [0, 1], how many it is newly the
    nearest to, and its name."""

    row: int
    reason: str
    score: float
    count: int = 1
    file: str = ""


def suggest(run: FitRun, n: int) -> list[Suggestion]:
    """The ``n`` images of a fit to label next: its probabilities say which are unsure, its frozen features which are alike.

    Images with a label of ``--test`` are left alone. What a pick is said to be is what predictions.csv says, of all its views.

    Raises:
        InputError: fewer than ``n`` images are without a label.
    """
    features, classifier = run.plain, run.bundle.classifier
    labelled = (run.labels >= 0).nonzero().flatten().tolist()
    kept_back = [row for row, name in enumerate(run.files) if name in run.tested]
    picks = choose(frozen_embedding(features), n, classifier.votes(features).probabilities, labelled, kept_back=kept_back)
    seen = classifier.votes(run.views([pick.row for pick in picks])).probabilities  # (n, C)
    return [
        replace(pick, file=run.files[pick.row], reason=_reason(pick.count, p, classifier.classes))
        for pick, p in zip(picks, seen, strict=True)
    ]


def suggest_first(files: Sequence[str], features: Tensor, n: int) -> list[Suggestion]:
    """The ``n`` of N ``files`` to label first, before there is any label, by their frozen features (N, D).

    Raises:
        InputError: there are fewer than ``n`` files.
    """
    return [replace(pick, file=files[pick.row]) for pick in choose(frozen_embedding(features), n)]


def write_suggestions(path: Path, suggestions: Sequence[Suggestion]) -> None:
    """A CSV to fill in: file, label (empty), reason, score.

    Raises:
        InputError: ``path`` exists, as labels may have been filled in there, or cannot be written.
    """
    rows = [{"file": s.file, "label": "", "reason": s.reason, "score": f"{s.score:.4f}"} for s in suggestions]
    write_new_table(path, rows, ("file", "label", "reason", "score"))


def choose(
    embeddings: Tensor,
    n: int,
    probabilities: Tensor | None = None,
    labelled: Sequence[int] = (),
    classes: Sequence[str] | None = None,
    kept_back: Sequence[int] = (),
) -> list[Suggestion]:
    """The ``n`` images to label next, the most useful first; the same input gives the same choice.

    ``embeddings`` (N, P) are compared by their cosine; ``probabilities`` (N, C) of a classifier, when there is one, with the
    names of its ``classes``. Rows that are ``labelled`` already are never chosen, nor are those ``kept_back``, which cover
    nothing. Memory grows with N · (P + C).

    Raises:
        InputError: fewer than ``n`` images are without a label.
    """
    taken = {*labelled, *kept_back}
    free = len(embeddings) - len(taken)
    if not 1 <= n <= free:
        raise InputError(f"{n} images to label were asked for, but {free} of {len(embeddings)} have no label yet")
    z = normalize(embeddings.float(), dim=1)  # (N, P)
    rows = torch.randperm(len(z), generator=generator(0, "suggest"))[:MOST_COVERED].sort().values  # (R,)
    unsure = torch.ones(len(rows)) if probabilities is None else uncertainty(probabilities[rows])
    width = _width(z, 1 / (n + len(labelled)))
    covered = _cover(z[rows], z[list(labelled)], width) if len(labelled) else torch.zeros(len(rows))
    picks = _greedy(z, rows, unsure, covered, width, n, taken)
    total = float(unsure.sum()) or 1.0
    chances: Sequence[Tensor | None] = [None] * len(z) if probabilities is None else list(probabilities)
    return [Suggestion(row, _reason(count, chances[row], classes), gain / total, count) for row, gain, count in picks]


def uncertainty(probabilities: Tensor) -> Tensor:
    """Entropy of each row of ``probabilities`` (N, C) as a share of the largest possible one: (N,) in [0, 1]."""
    p = probabilities.float()
    return torch.special.entr(p).sum(1) / torch.log(torch.tensor(float(p.shape[1])))  # (N,)


def _width(z: Tensor, share: float) -> float:
    """The cosine distance within which an average image has ``share`` of all images."""
    some = z[:: max(1, len(z) // PAIRS)]
    distances = (1 - some @ some.T)[~torch.eye(len(some), dtype=torch.bool)]
    return max(float(distances.quantile(min(share, 1.0))), 1e-4) if len(distances) else 1.0


def _kernel(a: Tensor, b: Tensor, width: float) -> Tensor:
    """How well each of ``b`` (M, P) covers each of ``a`` (N, P): (N, M) in (0, 1], 1 where they are alike.

    The exponent ends at -30: what lies beyond counts for nothing, and numbers near the smallest float are slow to add.
    """
    return (a @ b.T).sub_(1).div_(width).clamp_(-30, 0).exp_()


def _cover(z: Tensor, chosen: Tensor, width: float) -> Tensor:
    """How well each of ``z`` (R, P) is covered by the nearest of ``chosen`` (L, P): (R,) in (0, 1]."""
    return torch.stack([_kernel(z, part, width).amax(1) for part in chosen.split(CHUNK)]).amax(0)


def _greedy(
    z: Tensor, rows: Tensor, unsure: Tensor, covered: Tensor, width: float, n: int, taken: set[int]
) -> list[tuple[int, float, int]]:
    """Row, gain and number of images won over, of ``n`` picks.

    A gain can only shrink as more is covered, so an old gain is an upper bound: only the images at the head of the queue are
    computed again (lazy greedy, Minoux 1978), which gives the same picks as computing all of them.
    """
    targets, scale = z[rows], len(z) / len(rows)  # (R, P)
    gains = torch.cat([_gain(part, targets, unsure, covered, width) for part in z.split(CHUNK)])  # (N,)
    queue = [(-gain, row, 0) for row, gain in enumerate(gains.tolist()) if row not in taken]  # and when it was computed
    heapq.heapify(queue)
    picks: list[tuple[int, float, int]] = []
    while len(picks) < n:
        if queue[0][2] < len(picks):
            old = [heapq.heappop(queue)[1] for _ in range(min(LOOK_AGAIN, len(queue)))]
            for row, gain in zip(old, _gain(z[old], targets, unsure, covered, width).tolist(), strict=True):
                heapq.heappush(queue, (-gain, row, len(picks)))
            continue
        gain, row = -queue[0][0], heapq.heappop(queue)[1]
        kernel = _kernel(targets, z[row : row + 1], width)[:, 0]  # (R,)
        near = kernel > covered.clamp_min(1 / torch.e)  # within the width, and nearer than to what was chosen before
        picks.append((row, gain, max(1, round(scale * int(near.sum())))))
        covered = torch.maximum(covered, kernel)
    return picks


def _gain(candidates: Tensor, targets: Tensor, unsure: Tensor, covered: Tensor, width: float) -> Tensor:
    """What each candidate (B, P) would add to the coverage of ``targets`` (R, P): (B,)."""
    return _kernel(candidates, targets, width).sub_(covered).clamp_(min=0) @ unsure


def _reason(count: int, probabilities: Tensor | None, classes: Sequence[str] | None) -> str:
    """Why an image is chosen that stands for so many; ``probabilities`` (C,)."""
    images = f"about {counted(count, 'image')}"
    if probabilities is None:
        return f"typical of {images}"
    top = probabilities.topk(2)
    names = [classes[i] if classes else f"class {i}" for i in top.indices.tolist()]
    said = [f"{name} {p:.0%}" for name, p in zip(names, top.values.tolist(), strict=True)]
    said = said[:1] if top.values[1] < WORTH_SAYING else said
    return f"{' or '.join(said)}; nearest to {images}"


def frozen_embedding(features: Tensor) -> Tensor:
    """What images are compared by before a label exists: standardised features (N, D) -> main components (N, P), half
    whitened."""
    from paws.classifiers.space import fit_space

    views = features[:, None]  # (N, 1, D)
    space = fit_space(views, COMPONENTS)
    return space.standardise(features) @ space.whitened.T
