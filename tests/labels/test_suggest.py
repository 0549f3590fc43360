"""What to label next: typical and diverse at first, then where the model is unsure; equal to the greedy rule done naively."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.errors import InputError
from paws.labels.suggest import choose, uncertainty


def blobs(counts: list[int], spread: float = 0.05, width: int = 16) -> tuple[Tensor, list[int]]:
    """Points around orthogonal directions, and the blob of each."""
    noise = torch.randn(sum(counts), width, generator=torch.Generator().manual_seed(3))
    blob = [i for i, count in enumerate(counts) for _ in range(count)]
    return torch.eye(width)[blob] + spread * noise, blob


def naive(z: Tensor, n: int, weight: list[float], labelled: list[int]) -> list[int]:
    """Greedy weighted coverage, all gains computed anew for every pick."""
    z = normalize(z, dim=1)
    distance = [[1 - float(a @ b) for b in z] for a in z]
    pairs = torch.tensor([distance[i][j] for i in range(len(z)) for j in range(len(z)) if i != j])
    width = float(pairs.quantile(1 / (n + len(labelled))))
    chosen: list[int] = []
    for _ in range(n):
        gains = {}
        for j in range(len(z)):
            if j in chosen or j in labelled:
                continue
            gain = 0.0
            for i in range(len(z)):
                before = max((math.exp(-distance[i][k] / width) for k in [*labelled, *chosen]), default=0.0)
                gain += weight[i] * max(0.0, math.exp(-distance[i][j] / width) - before)
            gains[j] = gain
        chosen.append(max(gains, key=lambda j: gains[j]))
    return chosen


def test_picks_are_those_of_the_greedy_rule_done_naively() -> None:
    z = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    p = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    assert [pick.row for pick in choose(z, 4)] == naive(z, 4, [1.0] * 40, [])
    unsure = [-sum(q * math.log(q) for q in row) / math.log(3) for row in p.tolist()]
    assert [pick.row for pick in choose(z, 4, p, labelled=[3, 17])] == naive(z, 4, unsure, [3, 17])


def test_one_of_each_group_the_largest_first() -> None:
    z, blob = blobs([60, 40, 30, 20])
    picks = choose(z, 4)
    assert [blob[pick.row] for pick in picks] == [0, 1, 2, 3]
    assert picks[0].reason.startswith("typical of about ") and "images" in picks[0].reason
    assert [pick.score for pick in picks] == sorted((pick.score for pick in picks), reverse=True)
    assert all(0 < pick.score <= 1 for pick in picks)
    assert choose(z, 4) == picks


def test_what_is_labelled_is_neither_chosen_nor_covered_again() -> None:
    z, blob = blobs([60, 40, 30, 20])
    labelled = [0, 60]  # one of the first two groups each
    assert {blob[pick.row] for pick in choose(z, 2, labelled=labelled)} == {2, 3}
    assert not set(labelled) & {pick.row for pick in choose(z, 148, labelled=labelled)}


def test_unsure_images_come_first_and_say_between_what() -> None:
    z, blob = blobs([60, 40, 30])
    sure, torn = torch.tensor([0.98, 0.01, 0.01]), torch.tensor([0.01, 0.5, 0.49])
    p = torch.stack([torn if b == 2 else sure for b in blob])
    first = choose(z, 1, p, classes=["ant", "bee", "cat"])[0]
    assert blob[first.row] == 2
    assert first.reason.startswith("bee 50% or cat 49%; nearest to about ")


def test_a_folder_above_the_number_of_images_counted_is_chosen_from_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paws.labels.suggest.MOST_COVERED", 100)
    z, blob = blobs([300, 250, 120])
    picks = choose(z, 3)
    assert [blob[pick.row] for pick in picks] == [0, 1, 2]


@pytest.mark.parametrize("n", [0, 39])
def test_more_than_there_is_or_nothing_is_refused(n: int) -> None:
    with pytest.raises(InputError, match=rf"{n} images to label were asked for, but 38 of 40 have no label"):
        choose(torch.randn(40, 4), n, labelled=[1, 2])


def test_uncertainty_is_a_share_of_the_largest_entropy() -> None:
    p = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    assert uncertainty(p).tolist() == pytest.approx([1.0, 0.0, 0.5])
