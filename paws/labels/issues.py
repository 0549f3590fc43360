"""Labels that the other labelled images contradict, the most doubtful first: candidates for a second look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.bundle.bundle import Bundle
from paws.fit.run import FitRun
from paws.voting import soft_vote

TEMPERATURE = 0.1  # of the vote of the other labelled images
SHOWN = 3  # neighbours named
SURE = 0.75  # share of the agreeing labels that are less sure than a doubt that stands out


@dataclass(frozen=True)
class LabelIssue:
    """A labelled image (its row among the labelled ones) whose label is in doubt.

    ``given`` and ``expected`` are class ids; ``score`` is the probability, in [0, 1], that the label is another one, and
    ``neighbours`` are the rows of the labelled images most like it. ``stands_out``: another class is as many times more
    probable than the label as the label is than any other class in the surest quarter of the images whose label is the most
    probable class.
    """

    row: int
    given: int
    expected: int
    score: float
    neighbours: tuple[int, ...]
    stands_out: bool = False  # from the model's usual error


def rank_labels(embeddings: Tensor, labels: Tensor, num_classes: int, held_out: Tensor | None = None) -> list[LabelIssue]:
    """All labelled images that can be judged, the most doubtful label first.

    An image is judged by the vote of the other labelled images, soft nearest neighbours on ``embeddings`` (S, P) that no
    label has shaped (frozen features), and by ``held_out`` (S, C), probabilities of models that did not see its label (a row
    of nan where there are none); the score is one minus the mean probability of the given label. ``labels`` (S,) int64. The
    only image of its class is left out: without it nothing is known of the class.
    """
    others, similarity = _vote_of_others(embeddings.float(), labels, num_classes)
    judged = others if held_out is None else torch.where(held_out.isnan(), others, (others + held_out.float()) / 2)  # (S, C)
    counts = torch.bincount(labels, minlength=num_classes)
    own = judged.gather(1, labels[:, None])[:, 0]  # (S,)
    score, out = 1 - own, _standing_out(judged, labels, own)
    expected = judged.argmax(1).tolist()
    nearest = similarity.topk(min(SHOWN, len(labels) - 1), dim=1).indices.tolist()
    order = score.argsort(descending=True, stable=True).tolist()
    return [
        LabelIssue(row, int(labels[row]), expected[row], float(score[row]), tuple(nearest[row]), bool(out[row]))
        for row in order
        if counts[labels[row]] > 1
    ]


def _standing_out(judged: Tensor, labels: Tensor, own: Tensor) -> Tensor:
    """(S,) bool of images judged (S, C), ``own`` (S,) of it for their labels: see `LabelIssue`."""
    other = judged.scatter(1, labels[:, None], 0).amax(1)  # (S,)
    margin = own.clamp_min(1e-6).log() - other.clamp_min(1e-6).log()
    agreeing = margin[margin > 0]
    return margin < -agreeing.quantile(SURE) if len(agreeing) else margin < 0


def _vote_of_others(embeddings: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Votes (S, C) on each image without itself, every class with the same say, and the cosines (S, S), -inf to itself."""
    z = normalize(embeddings, dim=1)
    similarity = (z @ z.T).fill_diagonal_(-torch.inf)  # (S, S)
    return soft_vote(z, z, labels, num_classes, TEMPERATURE, balanced=True, own=torch.arange(len(z))), similarity


@dataclass(frozen=True)
class NamedIssue:
    """A labelled image by name: its label, what it is more like, the probability of its label, the images most like it."""

    file: str
    label: str
    predicted: str
    probability: float
    neighbours: tuple[str, ...]
    stands_out: bool


def suspicious(source: FitRun | Bundle) -> list[NamedIssue]:
    """The labels of a fit, or of a bundle, the most doubtful first.

    A fit has kept what models predicted that did not see the label; with a bundle alone only the other labelled images judge.
    """
    bundle = source if isinstance(source, Bundle) else source.bundle
    classifier, files = bundle.classifier, bundle.support_files
    held_out = None if isinstance(source, Bundle) else _held_out(source, files, classifier.classes)
    frozen = (classifier.support - classifier.mean) / classifier.scale  # (S, D)
    ranking = rank_labels(frozen, classifier.support_labels, len(classifier.classes), held_out)
    names = classifier.classes
    return [
        NamedIssue(
            files[s.row],
            names[s.given],
            names[s.expected],
            1 - s.score,
            tuple(files[row] for row in s.neighbours),
            s.stands_out,
        )
        for s in ranking
    ]


def _held_out(run: FitRun, files: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Held-out probabilities (S, C) as far as the run has kept them: the predicted class's, the rest shared by the others.

    A row of nan where models have seen the label.
    """
    kept = {row["file"]: row for row in run.held_out if row["provenance"] == "cross_validated"}
    found = torch.full((len(files), len(classes)), torch.nan)
    for i, file in enumerate(files):
        if file in kept and kept[file]["predicted"] in classes:
            confidence = float(kept[file]["probability"])
            found[i] = (1 - confidence) / (len(classes) - 1)
            found[i, classes.index(kept[file]["predicted"])] = confidence
    return found
