"""How good the labels of the whole folder would be by now, what they would gain by more, and the curve so far."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paws.data.texts import from_json
from paws.errors import InputError
from paws.label_page.belief import Belief
from paws.label_page.session import Picture
from paws.metrics import wilson_interval
from paws.runs.files import write_text

UNBIASED = 10  # labels of pictures drawn at random from which on these alone measure
AHEAD = 10  # labels that the expected gain is of


@dataclass(frozen=True)
class Measures:
    """Shares in [0, 1], None where nothing is known."""

    accuracy: float | None = None  # of labels that were held out
    interval: tuple[float, float] = (0.0, 1.0)  # 95 %, Wilson
    measured_on: int = 0
    random: bool = False  # these pictures were drawn at random; otherwise as they were hard
    sure: float = 0.0  # share of all pictures that has a label or is predicted with enough confidence
    expected: float | None = None  # share of all pictures that is expected to be right if all predictions are taken
    gain: float | None = None  # of it by ten more labels


class Curve:
    """Points (labels given, expected share right) of a session, kept in a file, so that it goes on after a restart."""

    def __init__(self, path: Path) -> None:
        self.path, self._saved = path, True
        try:
            self.points = [(int(n), float(share)) for n, share in from_json(path.read_bytes())]
        except (OSError, ValueError, TypeError):
            self.points = []

    def put(self, labels: int, share: float) -> None:
        """Add a point, in place of those with as many or more labels: they were taken back."""
        point = (labels, round(share, 4))
        self._saved = self._saved and self.points[-1:] == [point]
        self.points = [*(each for each in self.points if each[0] < labels), point]

    def save(self) -> None:
        """Write it where there is a point that the file does not have."""
        if not self._saved:
            self._saved = True
            with suppress(InputError):  # a curve that is not kept costs nothing but itself
                write_text(self.path, json.dumps(self.points))

    def gain(self, labels: int) -> float | None:
        """What `AHEAD` more labels are expected to bring: the error follows a power of the number of labels."""
        points = [(math.log(n), math.log(max(1e-3, 1 - share))) for n, share in self.points if n >= 5][-40:]
        if len(points) < 4 or points[-1][0] - points[0][0] < 0.2:
            return None
        x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
        slope = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
        slope = min(0.0, max(-1.5, slope))
        now = math.exp(points[-1][1])
        return now * (1 - ((labels + AHEAD) / max(1, labels)) ** slope)


def measure(belief: Belief, pictures: Sequence[Picture], curve: Curve, *, complete: bool) -> Measures:
    """What can be said at the ``belief``, which the ``curve`` gets as a point where it is ``complete``: of all pictures."""
    told = belief.held_out or {}
    single = [row for row in told if pictures[row].how in ("chosen", "random")]
    drawn = [row for row in single if pictures[row].how == "random"]
    used = drawn if len(drawn) >= UNBIASED else single
    right = sum(told[row][0] == pictures[row].label for row in used)
    waiting = [row for row, picture in enumerate(pictures) if picture.open]
    done = len(pictures) - len(waiting)
    labels = sum(picture.label is not None for picture in pictures)
    confidence = belief.probabilities[waiting].amax(1) if belief.probabilities.shape[1] > 1 and waiting else None
    expected = sure = None
    if not waiting:
        expected = sure = 1.0
    elif confidence is not None and bool(belief.ready.any()):
        confidence = confidence * belief.ready[waiting]
        expected = (done + float(confidence.sum())) / len(pictures)
        sure = (done + int((confidence >= belief.threshold).sum())) / len(pictures)
        if complete and labels >= 2:
            curve.put(labels, expected)
    return Measures(
        right / len(used) if used else None,
        wilson_interval(right, len(used)),
        len(used),
        len(drawn) >= UNBIASED,
        done / len(pictures) if sure is None else sure,
        expected,
        curve.gain(labels),
    )
