"""How often a run logs and saves; what depends on a clock is agreed on by all ranks."""

from __future__ import annotations

from dataclasses import dataclass

from paws import distributed


@dataclass(frozen=True)
class Intervals:
    """How often things happen, in steps unless named otherwise; without ``save``, checkpoints come at each epoch's end."""

    log: int = 10
    save: int | None = None
    save_minutes: float | None = None
    keep_epochs: tuple[int, ...] = ()

    def agrees_at(self, step: int) -> bool:
        """Whether the ranks talk to each other at this step; one process may stop at any step."""
        return distributed.world_size() == 1 or step % self.log == 0

    def save_is_due(self, step: int, *, ends_epoch: bool, since: float) -> bool:
        """Whether to save after ``step`` finished steps, ``since`` seconds after the last time."""
        due = ends_epoch if self.save is None else step % self.save == 0
        if self.save_minutes is not None and self.agrees_at(step):
            due = distributed.any_rank(since > 60 * self.save_minutes) or due  # asked on every rank, so that all of them answer
        return due
