"""The vote of the labelled pictures on all others, kept up to date label by label.

Letters: N pictures, P components of their features, C classes, S labelled pictures, M pictures at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.classifiers.calibration import DEVIATION, calibrated, fit_inverse_temperature
from paws.voting import above_floor

TEMPERATURE = 0.1  # of the cosines, as in `paws.voting`
CHUNK = 64  # labelled pictures, or pictures, at a time
TOO_MANY = 256  # changed labels from which on all sums are made anew


class Votes:
    """Class-balanced soft nearest neighbours (arXiv 2104.13963, eq. 1) over the labelled pictures, by sums that are updated.

    ``sums[i, c]`` is the sum over the labelled pictures j of class c of exp((cos(i, j) - 1) / temperature), so one more label
    costs one product of the features with a vector. `paws.voting.soft_vote` with ``balanced`` gives the same from scratch.
    """

    def __init__(self, count: int, variances: Tensor) -> None:
        self.variances = variances  # (P,) of the components over the pictures
        self.z = torch.zeros(count, len(variances))  # (N, P) unit length, 0 where a picture is not embedded yet
        self.ready = torch.zeros(count, dtype=torch.bool)  # (N,)
        self.labels: dict[int, int] = {}
        self.sums = torch.zeros(count, 0)  # (N, C)

    def put(self, rows: Tensor, points: Tensor) -> None:
        """Take the components (M, P) of pictures ``rows`` (M,)."""
        self.z[rows] = normalize(points.float(), dim=1)
        self.ready[rows] = True
        self._rebuild()

    def set_labels(self, labels: Mapping[int, int], num_classes: int) -> None:
        """Class ids of the labelled pictures by row; sums change by what is different from before."""
        new = dict(labels)
        changed = [row for row in self.labels.keys() | new.keys() if self.labels.get(row) != new.get(row)]
        if num_classes < self.sums.shape[1] or len(changed) > TOO_MANY:
            self.labels, self.sums = new, self.sums.new_zeros(len(self.z), num_classes)
            self._rebuild()
            return
        more = num_classes - self.sums.shape[1]
        self.sums = torch.cat([self.sums, self.sums.new_zeros(len(self.z), more)], 1) if more else self.sums
        signed = [(row, self.labels[row], -1.0) for row in changed if row in self.labels]
        signed += [(row, new[row], 1.0) for row in changed if row in new]
        self.labels = new
        self._add([(row, c, sign) for row, c, sign in signed if bool(self.ready[row])])

    @torch.inference_mode()
    def _add(self, signed: Sequence[tuple[int, int, float]]) -> None:
        for start in range(0, len(signed), CHUNK):
            rows, classes, signs = zip(*signed[start : start + CHUNK], strict=True)
            weights = self.kernel(self.z[list(rows)]) * torch.tensor(signs)  # (N, M)
            self.sums.index_add_(1, torch.tensor(classes), weights)
        self.sums.clamp_(min=0)  # what was taken away may leave less than nothing by rounding

    def _rebuild(self) -> None:
        self.sums = torch.zeros_like(self.sums)
        self._add([(row, c, 1.0) for row, c in self.labels.items() if bool(self.ready[row])])

    def half_whitened(self, rows: Tensor | Sequence[int] | slice, width: int | None = None) -> Tensor:
        """The first ``width`` components of pictures ``rows``, each divided by the square root of its deviation: (M, width)."""
        return self.z[rows, :width] / self.variances[:width] ** 0.25

    def kernel(self, queries: Tensor) -> Tensor:
        """How near each picture is to queries (M, P) of unit length: (N, M) in (0, 1], 1 where they are alike."""
        return (self.z @ queries.T).sub_(1).div_(TEMPERATURE).exp_()

    @property
    def counts(self) -> Tensor:
        """(C,) labelled pictures of each class that vote."""
        voting = [c for row, c in self.labels.items() if bool(self.ready[row])]
        return torch.bincount(torch.tensor(voting, dtype=torch.int64), minlength=self.sums.shape[1]).float()

    def probabilities(self) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities (N, C); and rows (S',) of labelled pictures with what the others say of them (S', C).

        The latter are those whose class has another one; both are calibrated on them.
        """
        counts = self.counts
        found = _shares(self.sums, counts)
        rows = torch.tensor(
            [row for row, c in self.labels.items() if bool(self.ready[row]) and counts[c] > 1], dtype=torch.int64
        )
        if not len(rows):
            return found, rows, found[rows]
        known = torch.tensor([self.labels[row] for row in rows.tolist()])
        own = torch.nn.functional.one_hot(known, len(counts)).float()  # each weighs 1 in its own vote
        held_out = _shares((self.sums[rows] - own).clamp_min(0), counts - own)
        inverse_temperature = fit_inverse_temperature(held_out, known, DEVIATION)
        return calibrated(found, inverse_temperature), rows, calibrated(held_out, inverse_temperature)

    def of(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (C,) of a picture that is not of the folder (P,), and its nearness (N,) to those that are."""
        near = self.kernel(normalize(point.float(), dim=0)[None])[:, 0] * self.ready
        labels = {row: c for row, c in self.labels.items() if bool(self.ready[row])}  # another thread sets them
        rows, ids = list(labels), torch.tensor(list(labels.values()), dtype=torch.int64)
        counts = torch.bincount(ids, minlength=self.sums.shape[1]).float()
        return _shares(torch.zeros(1, len(counts)).index_add_(1, ids, near[rows][None]), counts)[0], near


def _shares(sums: Tensor, counts: Tensor) -> Tensor:
    """Probabilities (N, C) from sums (N, C) of classes with ``counts`` (C,) or (N, C) pictures; even where nothing votes."""
    vote = sums / counts.clamp_min(1)
    total = vote.sum(1, keepdim=True)
    vote = torch.where(total > 1e-20, vote / total.clamp_min(1e-20), torch.full_like(vote, 1 / max(1, vote.shape[1])))
    return above_floor(vote, TEMPERATURE) if vote.shape[1] > 1 else vote
