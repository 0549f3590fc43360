"""Doubtful labels: ranked by the vote of the other labelled images, computed here one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.labels.issues import rank_labels


def naive_vote(z: Tensor, labels: list[int], image: int, num_classes: int) -> list[float]:
    """The vote on one image by the rest; every class has the same say, however many images it has."""
    z = normalize(z, dim=1)
    votes = [0.0] * num_classes
    for j, label in enumerate(labels):
        if j != image:
            others = sum(1 for k, other in enumerate(labels) if other == label and k != image)
            votes[label] += math.exp(float(z[image] @ z[j]) / 0.1) / others
    return [vote / sum(votes) for vote in votes]


def test_scores_are_the_mean_doubt_of_neighbours_and_held_out_models() -> None:
    generator = torch.Generator().manual_seed(0)
    z, labels = torch.randn(12, 5, generator=generator), [0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 1, 2]
    held_out = torch.randn(12, 3, generator=generator).softmax(1)
    ranking = rank_labels(z, torch.tensor(labels), 3, held_out)
    for doubt in ranking:
        vote = naive_vote(z, labels, doubt.row, 3)
        judged = [(a + b) / 2 for a, b in zip(vote, held_out[doubt.row].tolist(), strict=True)]
        assert doubt.score == pytest.approx(1 - judged[labels[doubt.row]], abs=1e-5)
        assert doubt.expected == max(range(3), key=judged.__getitem__)
        cosine = {j: float(normalize(z, dim=1)[doubt.row] @ normalize(z, dim=1)[j]) for j in range(12) if j != doubt.row}
        assert doubt.neighbours == tuple(sorted(cosine, key=lambda j: -cosine[j])[:3])
    assert sorted(doubt.row for doubt in ranking) == list(range(12))
    assert [doubt.score for doubt in ranking] == sorted((doubt.score for doubt in ranking), reverse=True)


def test_flipped_labels_stand_first() -> None:
    truth = torch.arange(4).repeat_interleave(10)
    z = torch.eye(8)[truth] + 0.15 * torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    labels = truth.clone()
    flipped = [3, 14, 27]
    labels[flipped] = (labels[flipped] + 1) % 4
    ranking = rank_labels(z, labels, 4)
    assert {doubt.row for doubt in ranking[:3]} == set(flipped)
    assert all(doubt.expected == truth[doubt.row] and doubt.given == labels[doubt.row] for doubt in ranking[:3])


def test_the_only_image_of_a_class_is_not_judged() -> None:
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    assert {doubt.row for doubt in rank_labels(z, torch.tensor([0, 0, 1, 1, 2]), 3)} == {0, 1, 2, 3}


def test_only_what_stands_out_from_the_usual_error_is_marked() -> None:
    """Of two clouds that overlap the mistaken ones do not stand out; a label of the other cloud's middle does."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    labels = torch.arange(40) % 2
    points = centres[labels] + 0.8 * torch.randn(40, 2, generator=draw)
    points[0] = torch.tensor([-2.0, 4.0])
    issues = rank_labels(points, labels, 2)
    assert [issue.row for issue in issues if issue.stands_out] == [0]
    assert sum(issue.expected != issue.given for issue in issues) >= 1
