"""`paws label` against a table of random labels, with a simulated person: `python -m benchmarks.labelling [--quick]`.

The person knows the truth and slips in 2 % of what is decided: a label is another class, a wrong guess is overlooked. Actions
are keys and clicks. A label is one; the letters of a new class are counted on neither side, but "/" is, which begins its name
where the first letter means something else in the page. After the first labels one by one, as the page chooses the pictures,
the surest guesses are read in order: the first wrong one, which is pointed at, gets the key of its class, which confirms those
before it and lets the others be guessed anew; Enter confirms a sheet without a wrong one. Guesses in the end are those of a fit
to all labels, as Finish makes it. Without the page, pictures in a random order get one action each, and `paws fit` predicts the
rest.

* actions until labels and guesses together are right for 95 % of the folder, and the ratio to those without the page
* accuracy on the pictures without a label after 20, 50 and 100 labels one by one, chosen by the page, at random, and by
  uncertainty alone (least probable guess), always by the page's own learner
* ``--latency``: milliseconds from a label to votes on 10,000 pictures
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from benchmarks.folders.build import FOLDERS
from benchmarks.folders.features import Suite, clean, from_files, load
from benchmarks.side_by_side import Figure, finish
from paws.config.options import FitOptions
from paws.fit.fit import fit_features
from paws.label_page.belief import Belief, Trained, believe, up_to_date
from paws.label_page.bench import SHEET
from paws.label_page.keys import MEANT, keys_of
from paws.label_page.learner import Learner
from paws.label_page.pool import CHOSEN_BY
from paws.label_page.queue import next_pictures, random_order, sheet
from paws.label_page.session import Picture
from paws.label_page.votes import Votes

NAMES = ("digits", "fashion-1000", "pictograms", "icons", "clipart-living")  # nothing was chosen on them
SLIPS, WANTED, BEGINNING, ONE_BY_ONE = 0.02, 0.95, 10, 5
NEAR = 0.02  # share that is missing by the guesses of a sheet, from which on a fit tells whether it is
KINDS = ("one by one", "a wrong guess", "a slash", "a sheet without one")
BUDGETS = (20, 50, 100)
PAYS = 1.1  # labels, over those that were learned from, from which on learning again pays
LATE = 3  # actions that are done until what is learned is there


class Person:
    """A session over a folder of features, its learner run in turn instead of beside."""

    def __init__(self, data: Suite, seed: int) -> None:
        self.plain = np.array(data.views[:, 0])
        self.truth = [data.classes[y] for y in data.labels.tolist()]
        self.draw = random.Random(seed)
        self.learner = Learner(self.plain[:, None], FitOptions())
        space = self.learner.space
        points = space.points(torch.from_numpy(self.plain).float())
        self.votes = Votes(len(points), space.variances)
        self.votes.put(torch.arange(len(points)), points)
        self.order = random_order(len(points))
        self.pictures = [Picture()] * len(self.plain)
        self.classes: list[str] = []
        self.trained: Trained | None = None
        self.learning: tuple[int, Trained] | None = None  # and the number of actions from which on it is there
        self.spent = Counter[str]()  # actions by kind

    @property
    def actions(self) -> int:
        """Keys and clicks so far."""
        return self.spent.total()

    def belief(self, *, learn: bool = True) -> Belief:
        """What the page believes now; it learns anew where it pays, and has it `LATE` actions later.

        Without ``learn`` it does not, which saves time where only sheets follow: what is learned is not in them.
        """
        if self.learning is not None and self.actions >= self.learning[0]:
            self.trained, self.learning = self.learning[1], None
        labels = sum(picture.label is not None for picture in self.pictures)
        enough = labels >= PAYS * (self.trained.labels if self.trained else 0)
        if learn and self.learning is None and enough and (learned := self.learned()) is not None:
            self.learning = (self.actions + LATE, learned)
        return believe(self.votes, self.trained, 0, tuple(self.classes), self.pictures, WANTED)

    def learned(self) -> Trained | None:
        """What a fit makes of the labels of now; None of those of one class."""
        rows = [row for row, picture in enumerate(self.pictures) if picture.label]
        used = tuple(name for name in self.classes if any(self.pictures[row].label == name for row in rows))
        if len(used) < 2:
            return None
        labels = torch.full((len(self.pictures),), -1)
        labels[rows] = torch.tensor([used.index(str(self.pictures[row].label)) for row in rows])
        found = self.learner.learn(labels, used)
        return Trained(len(rows), used, found.probabilities, found.rows.tolist(), found.held_out)

    def label(self, row: int, how: str, kind: str) -> None:
        """Give a picture its class, or by a slip another one."""
        name = self.truth[row] if self.draw.random() >= SLIPS else self.draw.choice(self.truth)
        if name not in self.classes:
            self.spent["a slash"] += name[0].lower() in {*keys_of(self.classes).values(), *MEANT}
            self.classes.append(name)
        self.pictures[row] = self.pictures[row].marked("label", name, how)
        self.spent[kind] += 1

    def confirm(self, now: Belief) -> None:
        """Read the surest guesses in order: the class of the first wrong one confirms those before it, Enter confirms all."""
        found = sheet(now, self.pictures, WANTED, SHEET)
        if found is None:
            return
        for row, label in zip(found.rows, found.labels, strict=True):
            if self.truth[row] != label and self.draw.random() >= SLIPS:
                self.label(row, "bulk", "a wrong guess")
                return
            self.pictures[row] = self.pictures[row].marked("label", label, "bulk")
        self.spent["a sheet without one"] += 1

    def one_by_one(self, belief: Belief, count: int) -> None:
        """Label the pictures that the page shows next."""
        picks = next_pictures(belief, self.pictures, lambda rows: self.votes.half_whitened(rows, CHOSEN_BY), self.order, set())
        rejected = sum(bool(self.pictures[pick.row].excluded) for pick in picks)
        for pick in picks[: max(count, rejected)]:
            self.label(pick.row, pick.how, "one by one")

    def right(self, belief: Belief, *, labelled: bool = True) -> float:
        """Share of the folder that labels and guesses are right for; without ``labelled`` of the guesses alone."""
        guesses = belief.probabilities.argmax(1).tolist() if belief.classes else []
        hits = [
            (p.label or belief.classes[guess]) == truth
            for p, guess, truth in zip(self.pictures, guesses, self.truth, strict=True)
            if labelled or p.label is None
        ]
        return sum(hits) / len(hits) if hits else 1.0


def is_right(person: Person, now: Belief) -> bool:
    """Whether the folder is right with the guesses of a fit to all labels, which is made where those of ``now`` are near."""
    if not now.classes or person.right(now) < WANTED - NEAR or (found := person.learned()) is None:
        return False
    return person.right(believe(person.votes, found, 0, tuple(person.classes), person.pictures, WANTED)) >= WANTED


def actions_with_the_page(data: Suite, seed: int) -> Counter[str]:
    """By kind, until the folder is right."""
    person = Person(data, seed)
    while any(picture.open for picture in person.pictures):  # else slips alone keep it from being right
        belief = person.belief(learn=person.actions < BEGINNING)
        now = up_to_date(belief, person.votes, person.pictures)
        if is_right(person, now):
            break
        if person.actions >= BEGINNING:
            person.confirm(now)
        else:
            person.one_by_one(belief, ONE_BY_ONE)
    return person.spent


def actions_without(data: Suite, seed: int, steps: int) -> int:
    """Labels of random pictures, and `paws fit`, until the folder is right: by bisection, as more labels are better."""
    draw = random.Random(seed)
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    given = torch.tensor([y if draw.random() >= SLIPS else draw.randrange(len(data.classes)) for y in data.labels.tolist()])

    def right(count: int) -> bool:
        known = torch.full_like(given, -1)
        known[order[:count]] = given[order[:count]]
        names, ids = known[known >= 0].unique(return_inverse=True)
        if len(names) < 2:
            return False
        compact = known.clone()
        compact[known >= 0] = ids
        fitted = fit_features(data.views[:, :1], compact, [data.classes[y] for y in names.tolist()], seed=seed)
        guess = names[fitted.classifier.votes(torch.from_numpy(np.array(data.views[:, 0])).float()).probabilities.argmax(1)]
        return float((torch.where(known >= 0, known, guess) == data.labels).double().mean()) >= WANTED

    low, high = 0, len(order)
    for _ in range(steps):
        middle = (low + high) // 2
        low, high = (low, middle) if right(middle) else (middle, high)
    return high


def accuracies(data: Suite, choose: str, seed: int) -> list[float]:
    """Share right of the pictures without a label, after each of ``BUDGETS`` labels; ``choose``: page, random, uncertain."""
    person, found = Person(data, seed), []
    belief = person.belief()
    order = person.draw.sample(range(len(person.truth)), len(person.truth))
    for budget in BUDGETS:
        while person.actions < budget:
            count = min(ONE_BY_ONE, budget - person.actions)
            if choose == "page":
                person.one_by_one(belief, count)
            else:
                free = [row for row in order if person.pictures[row].label is None]
                if choose == "uncertain" and len(belief.classes) > 1:
                    free.sort(key=belief.probabilities.amax(1).tolist().__getitem__)
                for row in free[:count]:
                    person.label(row, "chosen", "one by one")
            belief = person.belief()
        found.append(100 * person.right(belief, labelled=False))
    return found


def latency(count: int = 10_000, dim: int = 1280, classes: int = 20, labels: int = 300) -> float:
    """Milliseconds from a label to new votes on ``count`` pictures, the 95th percentile of 40 labels."""
    draw = torch.Generator().manual_seed(0)
    votes, taken = Votes(count, torch.ones(dim)), []
    votes.put(torch.arange(count), torch.randn(count, dim, generator=draw))
    pictures = [Picture(f"class {row % classes}", "chosen") if row < labels else Picture() for row in range(count)]
    names = tuple(f"class {c}" for c in range(classes))
    believe(votes, None, 0, names, pictures, WANTED)
    for row in range(labels, labels + 40):
        pictures[row] = Picture(names[row % classes], "chosen")
        began = time.perf_counter()
        believe(votes, None, 0, names, pictures, WANTED)
        taken.append(1000 * (time.perf_counter() - began))
    return float(np.quantile(taken, 0.95))


def measured(name: str, data: Suite, seed: int, steps: int, *, curves: bool = True) -> dict[str, object]:
    """A row of the table: what a draw on a folder took, and how right it was."""
    spent, theirs = actions_with_the_page(data, seed), actions_without(data, seed, steps)
    ours = spent.total()
    row: dict[str, object] = {"folder": name, "pictures": len(data.labels), "classes": len(data.classes), "draw": seed}
    row |= {"with_page": ours, "without": theirs, "ratio": round(ours / theirs, 3)}
    row |= {kind.replace(" ", "_"): spent[kind] for kind in KINDS}
    for choose in ("page", "random", "uncertain") if curves else ():
        shares = accuracies(data, choose, seed)
        row |= {f"{choose}_{budget}": round(share, 1) for budget, share in zip(BUDGETS, shares, strict=True)}
    return row


def plain(name: str) -> Suite:
    """A folder of the suite in its plain view, without pictures of no class."""
    return clean(from_files(name, FOLDERS[name], views=0) if name in FOLDERS else load(name))


def main() -> None:
    """Print a row for each folder and draw, and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 digits, a few minutes")
    parser.add_argument("--latency", action="store_true", help="only how fast votes are")
    parser.add_argument("--folders", nargs="+", default=list(NAMES))
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--actions", action="store_true", help="only the actions until a folder is right")
    parser.add_argument("--csv", type=Path, help="where rows are added as they come")
    options = parser.parse_args()
    slow = Figure(
        "milliseconds from a label to votes on 10,000 pictures, 95th percentile", round(latency(), 1), 300, False, True
    )
    if options.latency:
        finish(slow)
        return
    ratios = []
    for name in ["digits"] if options.quick else options.folders:
        data = from_files("digits", FOLDERS["digits"], 300) if options.quick else plain(name)
        for seed in range(options.draws):
            row = measured(name, data, seed, 4 if options.quick else 7, curves=not options.actions)
            ratios.append(float(str(row["ratio"])))
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            if options.csv is not None:
                new = not options.csv.exists()
                with options.csv.open("a", encoding="utf-8", newline="") as file:
                    table = csv.DictWriter(file, list(row), lineterminator="\n")
                    table.writerows([dict(zip(row, row, strict=True)), row] if new else [row])
    bar = None if options.quick else 1 / 3
    finish(Figure("actions with the page over those without, worst folder", round(max(ratios), 3), bar, False), slow)


if __name__ == "__main__":
    main()
