"""The votes, what is learned, and what is made of them: the next pictures, sheets to confirm, lists, figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from paws.classifiers.calibration import confident_threshold
from paws.config.options import FitOptions
from paws.fit.fit import fit_features
from paws.label_page import belief as labels_at_once
from paws.label_page import learner, lists
from paws.label_page.belief import Belief, Trained, believe, up_to_date
from paws.label_page.learner import Learner
from paws.label_page.measures import Curve, measure
from paws.label_page.queue import next_pictures, random_order, sheet
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
    votes = Votes(len(x), torch.ones(x.shape[1]))
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
    early, late = Votes(len(x), torch.ones(x.shape[1])), filled(x)
    early.put(torch.arange(50), x[:50])
    early.set_labels(labels, 3)
    assert early.counts.tolist() == [1, 1, 1]
    early.put(torch.arange(50, 90), x[50:])
    late.set_labels(labels, 3)
    torch.testing.assert_close(early.probabilities()[0], late.probabilities()[0])


def test_what_is_learned_is_what_a_fit_says() -> None:
    x, truth = blobs()
    features = x[:, None].half()
    learnt = Learner(features.numpy(), FitOptions())
    for count in (12, 20):  # the second time with the graph of the first
        labels = torch.full((90,), -1)
        labels[:count] = truth[:count]
        found = learnt.learn(labels, ("a", "b", "c"))
        fitted = fit_features(features.numpy(), labels, ("a", "b", "c"))
        votes = fitted.classifier.votes(features[:, 0].float())
        torch.testing.assert_close(found.probabilities, votes.probabilities, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.held_out, fitted.held_out[fitted.fold >= 0], rtol=0, atol=1e-4)
    assert (found.probabilities.argmax(1) == truth).double().mean() > 0.9
    other = learnt.predict(features[30, 0].float())
    assert other is not None
    torch.testing.assert_close(other, votes.probabilities[30], rtol=0, atol=1e-4)


def test_of_very_many_labels_some_of_every_class_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "LABELS", 10)
    labels = torch.tensor([0] * 40 + [1, -1, 2])
    kept = learner.fewer(labels)
    assert (kept >= 0).sum() == 10 and set(kept.tolist()) == {-1, 0, 1, 2}
    assert (kept[kept >= 0] == labels[kept >= 0]).all()


def test_what_was_learned_from_all_labels_is_believed_alone() -> None:
    x, truth = blobs()
    votes, pictures = filled(x), [Picture("abc"[truth[row]], "chosen") if row < 12 else Picture() for row in range(90)]
    said = torch.tensor([0.9, 0.06, 0.04]).expand(90, 3)
    trained = Trained(12, ("a", "b", "c"), said, [0], said[:1])
    found = believe(votes, trained, 1, ("a", "b", "c"), pictures, 0.85)
    torch.testing.assert_close(found.probabilities, said)
    assert found.threshold == pytest.approx(confident_threshold(said.amax(1), 0.85))
    pictures[12] = replace(pictures[12], excluded=frozenset({"a"}))
    for row in range(13, 25):
        pictures[row] = Picture("abc"[truth[row]], "chosen")
    later = believe(votes, trained, 2, ("a", "b", "c"), pictures, 0.85)
    alone = believe(votes, None, 2, ("a", "b", "c"), pictures, 0.85)
    torch.testing.assert_close(
        up_to_date(later, votes, pictures).probabilities[30:], up_to_date(alone, votes, pictures).probabilities[30:]
    )  # sheets are guessed without what was learned
    assert later.probabilities[12, 0] == 0 and not torch.allclose(later.probabilities, said)
    single = [replace(picture, label=None) if row > 2 else picture for row, picture in enumerate(pictures)]
    assert believe(votes, None, 3, ("a", "b", "c"), single, 0.5).threshold > 1, "no label could be held out"


def test_copies_are_found() -> None:
    x, _ = blobs()
    x[70] = x[3] + 0.01
    pairs = Learner(x[:, None].half().numpy(), FitOptions()).pairs()
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


def test_a_sheet_holds_the_surest_guesses_in_order() -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, list(range(12)))
    pictures[20], pictures[21] = Picture(none=True), Picture(excluded=frozenset({"a"}))
    found = sheet(known, pictures, 0.95, 30, None, {22})
    assert found is not None and len(set(found.rows)) == 30 and found.waiting == 90 - 12 - 3
    assert not set(found.rows) & {*range(12), 20, 21, 22}
    assert list(found.probabilities) == sorted(found.probabilities, reverse=True)
    guess = [known.classes[c] for c in known.probabilities.argmax(1).tolist()]
    assert list(found.labels) == [guess[row] for row in found.rows]
    left = [row for row in range(90) if pictures[row].open and row not in (21, 22) and row not in found.rows]
    assert known.probabilities[list(found.rows)].amax(1).min() >= known.probabilities[left].amax(1).max()
    assert found.expected_wrong == pytest.approx(sum(1 - p for p in found.probabilities))
    believed = known.probabilities[list(found.rows)].amax(1)
    assert (torch.tensor(found.probabilities) < believed).all(), "what is left is harder than it looks"
    risk = [1 - p for p in found.probabilities]
    assert found.sure > 0 and sum(risk[: found.sure]) / found.sure <= 0.05 + 1e-6
    assert found.sure == 30 or sum(risk[: found.sure + 1]) / (found.sure + 1) > 0.05


def test_a_sheet_of_one_class_or_of_none() -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, list(range(12)))
    alone = sheet(known, pictures, 0.95, 90, "b")
    assert alone is not None and set(alone.labels) == {"b"} and alone.waiting == len(alone.rows) < 78
    assert sheet(known, pictures, 0.95, 90, "of no such name") is None
    assert sheet(known, [Picture("a")] * 90, 0.95, 30) is None
    assert sheet(Belief(0, ("a",), torch.ones(90, 1), known.ready), pictures, 0.95, 30) is None


def test_one_more_label_changes_what_is_guessed_near_it_at_once() -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, [0, 1, 3, 4, 6, 7])
    other = [row for row in range(3, 90) if truth[row] == 2]
    assert known.probabilities[other].argmax(1).ne(2).all(), "nothing is known of the third class"
    pictures[2] = Picture("c", "bulk")
    now = up_to_date(known, filled(x), pictures)
    torch.testing.assert_close(now.probabilities.sum(1), torch.ones(90))
    gained = now.probabilities[other, 2] > known.probabilities[other, 2]
    assert gained.double().mean() > 0.9
    assert up_to_date(known, filled(x), [Picture("a") if row == 0 else Picture() for row in range(90)]) is known


def test_what_is_guessed_at_once_is_told_by_small_components_too() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.arange(90) % 2
    small = 0.4 * torch.randn(90, 4, generator=draw) + (2 * truth - 1)[:, None]  # which tell the classes apart
    x = torch.cat([10 * torch.randn(90, 12, generator=draw), small], 1)
    votes = Votes(90, x.var(0))
    votes.put(torch.arange(90), x)
    pictures = [Picture("ab"[truth[row]], "chosen") if row < 20 else Picture() for row in range(90)]
    nothing = Belief(0, ("a", "b"), torch.full((90, 2), 0.5), torch.ones(90, dtype=torch.bool))
    guess = up_to_date(nothing, votes, pictures).probabilities[20:].argmax(1)
    assert (guess == truth[20:]).double().mean() > 0.85


def test_a_class_that_came_a_moment_ago_votes_before_anything_is_believed_of_it() -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, list(range(12)))
    pictures[12] = Picture("d", "chosen")
    votes = filled(x)
    votes.set_labels({**labels_of(truth, list(range(12))), 12: 3}, 4)
    engine: Any = SimpleNamespace(belief=known, pool=SimpleNamespace(votes=votes))
    voters = lists.look(engine, 15, pictures)["voters"]
    assert {12, 0, 3} <= {voter["row"] for voter in voters}
    assert {voter["row"]: voter["label"] for voter in voters}[12] == "d"
    assert sum(voter["weight"] for voter in lists.voters(torch.ones(90), pictures)) <= 1 + 1e-6
    vote, _ = votes.of(x[15])
    assert len(vote) == 4 and lists.top_classes(vote.tolist(), known.classes)[0][0] in known.classes


def test_of_very_many_labels_some_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, truth = blobs()
    known, pictures = belief(x, truth, list(range(0, 90, 2)))
    given: list[int] = []
    monkeypatch.setattr(labels_at_once, "AT_ONCE", 20)
    fit = labels_at_once.LogisticRegression.of
    monkeypatch.setattr(labels_at_once.LogisticRegression, "of", lambda x, y, *how: given.append(len(y)) or fit(x, y, *how))
    found = up_to_date(known, filled(x), pictures)
    assert given == [20] and (found.probabilities.argmax(1) == truth).double().mean() > 0.9


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
    curve.save()
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
