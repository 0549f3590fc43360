"""The votes, the heads, and what is made of them: the next pictures, groups to confirm, lists, figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paws.classifiers.space import fit_space
from paws.label_page.belief import Belief
from paws.label_page.learner import Learner
from paws.label_page.measures import Curve, measure
from paws.label_page.queue import group, next_pictures, random_order
from paws.label_page.session import Picture
from paws.label_page.votes import TEMPERATURE, Votes
from paws.voting import above_floor, soft_vote


def blobs(per_class: int = 30, dim: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(3, dim, generator=draw)
    truth = torch.arange(3).repeat(per_class)
    return centres[truth] + torch.randn(len(truth), dim, generator=draw), truth


def labels_of(truth: torch.Tensor, rows: list[int]) -> dict[int, int]:
    return {row: int(truth[row]) for row in rows}


def filled(x: torch.Tensor) -> Votes:
    votes = Votes(*x.shape)
    votes.put(torch.arange(len(x)), x)
    return votes


def from_scratch(x: torch.Tensor, labels: dict[int, int], classes: int) -> torch.Tensor:
    rows = list(labels)
    vote = soft_vote(x, x[rows], torch.tensor([labels[row] for row in rows]), classes, TEMPERATURE, balanced=True)
    return above_floor(vote, TEMPERATURE)


def test_votes_that_are_updated_are_those_from_scratch() -> None:
    x, truth = blobs()
    votes = filled(x)
    labels: dict[int, int] = {}
    for step, row in enumerate([0, 1, 2, 7, 30, 44, 5]):
        labels[row] = int(truth[row])
        if step == 4:
            labels[1] = 2  # corrected
        if step == 5:
            del labels[2]  # taken away
        votes.set_labels(labels, 3)
        if len(set(labels.values())) == 3:
            assert (votes.probabilities()[0].argmax(1) == from_scratch(x, labels, 3).argmax(1)).all()
    wanted = soft_vote(x, x[list(labels)], torch.tensor(list(labels.values())), 3, TEMPERATURE, balanced=True)
    sums = votes.sums / votes.counts
    torch.testing.assert_close(sums / sums.sum(1, keepdim=True), wanted, rtol=1e-3, atol=1e-5)


def test_held_out_votes_do_not_see_the_label() -> None:
    x, truth = blobs()
    votes, rows = filled(x), [0, 3, 6, 1, 4, 2, 5]
    labels = labels_of(truth, rows)
    labels[0] = 1  # wrong: without its own vote it is told
    votes.set_labels(labels, 3)
    _, judged, held_out = votes.probabilities()
    assert sorted(judged.tolist()) == sorted(rows)
    assert held_out[judged.tolist().index(0)].argmax() == 0


def test_pictures_that_come_later_vote_and_are_voted_on() -> None:
    x, truth = blobs()
    labels = labels_of(truth, [0, 1, 2, 60])
    early, late = Votes(*x.shape), filled(x)
    early.put(torch.arange(50), x[:50])
    early.set_labels(labels, 3)
    assert early.counts.tolist() == [1, 1, 1]
    early.put(torch.arange(50, 90), x[50:])
    late.set_labels(labels, 3)
    torch.testing.assert_close(early.probabilities()[0], late.probabilities()[0])


def test_heads_learn_from_a_few_labels_and_judge_without_them() -> None:
    x, truth = blobs()
    learner = Learner(x.numpy(), fit_space(x[:, None], 8))
    labels = torch.full((90,), -1)
    labels[:12] = truth[:12]
    found = learner.heads(labels, 3)
    assert (found.probabilities.argmax(1) == truth).double().mean() > 0.9
    assert (found.held_out.argmax(1) == truth[found.rows]).double().mean() > 0.8
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(90))
    other = learner.predict(x[30])
    assert other is not None and int(other.argmax()) == int(truth[30])


def test_copies_are_found() -> None:
    x, _ = blobs()
    x[70] = x[3] + 0.01
    pairs = Learner(x.numpy(), fit_space(x[:, None], 8)).pairs()
    assert pairs[0][:2] == (3, 70)


def belief(x: torch.Tensor, truth: torch.Tensor, rows: list[int]) -> tuple[Belief, list[Picture]]:
    votes, names = filled(x), ("a", "b", "c")
    votes.set_labels(labels_of(truth, rows), 3)
    found, judged, held = votes.probabilities()
    told = {row: (names[int(p.argmax())], float(p.max())) for row, p in zip(judged.tolist(), held, strict=True)}
    pictures = [Picture(names[int(truth[row])], "chosen") if row in rows else Picture() for row in range(len(x))]
    return Belief(1, names, found, torch.ones(len(x), dtype=torch.bool), 0.9, told), pictures


def test_the_next_pictures_are_open_and_different() -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, [0, 1, 2, 3, 4, 5])
    pictures[10] = Picture(excluded=frozenset({"a"}))
    pictures[11] = Picture(skipped=1)
    pictures[12] = Picture(none=True)
    picks = next_pictures(known, pictures, lambda rows: x[rows], random_order(90), {13})
    rows = [pick.row for pick in picks]
    assert rows[0] == 10, "what was marked as wrong comes first"
    assert len(set(rows)) == len(rows) == 12 and not set(rows) & {0, 1, 2, 3, 4, 5, 11, 12, 13}
    assert [pick.how for pick in picks].count("random") == 2 and picks[1].how == picks[9].how == "random"  # each eighth label
    nothing = Belief(0, (), torch.zeros(90, 0), torch.zeros(90, dtype=torch.bool))
    assert len(next_pictures(nothing, [Picture()] * 90, lambda rows: x[rows], random_order(90), set())) == 12


def test_a_group_is_sure_enough_or_says_that_it_is_not() -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, list(range(12)))
    found = group(known, pictures, 0.95, 10)
    assert found is not None and found.sure and 6 <= len(found.rows) <= 10
    assert found.expected_wrong / len(found.rows) <= 0.05 + 1e-6
    assert list(found.probabilities) == sorted(found.probabilities, reverse=True)
    assert all(pictures[row].open for row in found.rows)
    unsure = Belief(1, known.classes, known.probabilities * 0.2 + 0.8 / 3, known.ready)
    mixed = group(unsure, pictures, 0.95, 10, "b")
    assert mixed is not None and not mixed.sure and mixed.label == "b"
    assert group(unsure, [Picture("a")] * 90, 0.95, 10) is None
    least = group(known, pictures, 0.95, 10, unsure=True)
    assert least is not None and not least.sure
    of_class = known.probabilities.argmax(1) == known.classes.index(least.label)
    waiting = [row for row in range(90) if pictures[row].open and of_class[row]]
    assert max(least.probabilities) <= min(float(known.probabilities[row].max()) for row in waiting if row not in least.rows)


def test_figures_say_what_they_were_measured_on(tmp_path: Path) -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, list(range(12)))
    curve = Curve(tmp_path / "curve.json")
    found = measure(known, pictures, curve, complete=True)
    assert found.measured_on == 12 and not found.random
    assert found.interval[0] <= (found.accuracy or 0) <= found.interval[1]
    assert found.expected is not None and 0.6 < found.expected <= 1
    drawn = [Picture(p.label, "random") if p.label else p for p in pictures]
    assert measure(known, drawn, curve, complete=True).random
    assert Curve(tmp_path / "curve.json").points == curve.points
    bulk = [Picture(p.label, "bulk") if p.label else p for p in pictures]
    assert measure(known, bulk, curve, complete=True).accuracy is None, "what was confirmed in bulk measures nothing"


def test_the_gain_of_more_labels_follows_the_curve(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.json")
    assert curve.gain(10) is None
    for labels in range(5, 60, 5):
        curve.put(labels, 1 - 1 / labels**0.5)
    now, then = 1 - 1 / 55**0.5, 1 - 1 / 65**0.5
    assert curve.gain(55) == pytest.approx(then - now, abs=1e-3)
