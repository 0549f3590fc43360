"""What a fit announces: from work that was done, on a machine that may be busy."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from paws.config.options import FitOptions
from paws.fit import estimate
from paws.fit.progress import StepProgress


class Clock:
    """A machine on which a process gets a share of a core; looking at the clock takes a millisecond of work."""

    def __init__(self, share: float) -> None:
        self.share, self.worked = share, 0.0

    def work(self, seconds: float) -> None:
        self.worked += seconds

    def process_time(self) -> float:
        self.work(0.001)
        return self.worked

    thread_time = process_time

    def monotonic(self) -> float:
        return self.process_time() / self.share


class Network:
    """An embedder that takes a tenth of a second of the processor for an image."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.runtimes = clock, [SimpleNamespace(feature_dim=8)]
        self.backbone = SimpleNamespace(name="net", parts=[SimpleNamespace(size=96)])
        self.embedded: list[str] = []

    def batches(self, paths: Any, views: int, **_: Any) -> Iterator[Any]:
        self.clock.work(0.1 * len(paths))
        self.embedded += paths
        yield SimpleNamespace(faults=[None] * len(paths))


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Clock, Network]:
    clock = Clock(request.param)
    monkeypatch.setattr(estimate, "time", clock)
    return clock, Network(clock)


FILES = {f"{number}.png": str(number) for number in range(1000)}


@pytest.mark.parametrize("machine", [1.0, 0.25], indirect=True)
def test_the_probe_and_the_share_of_a_core_are_those_of_the_machine(machine: tuple[Clock, Network]) -> None:
    clock, network = machine
    each = estimate.seconds_an_image(network, FILES, 1, mirror=True)  # type: ignore[arg-type]
    assert each == pytest.approx(0.1 / clock.share, rel=0.05)
    assert len(network.embedded) == 12, "a second of the processor, four images at a time"
    assert estimate.share_of_core() == pytest.approx(clock.share, rel=0.05)


@pytest.mark.parametrize("machine", [0.01], indirect=True)
def test_the_probe_ends_where_next_to_nothing_is_left_of_the_machine(machine: tuple[Clock, Network]) -> None:
    estimate.seconds_an_image(machine[1], FILES, 1, mirror=True)  # type: ignore[arg-type]
    assert len(machine[1].embedded) == 4
    assert 0 < estimate.share_of_core() <= 0.011


@pytest.mark.parametrize("machine", [0.5], indirect=True)
@pytest.mark.parametrize(
    ("options", "until"), [(FitOptions(), "in all"), (FitOptions(train="light"), "until encoders are trained")]
)
def test_one_line_says_how_long_it_will_take(
    machine: tuple[Clock, Network],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: FitOptions,
    until: str,
) -> None:
    clock, network = machine
    monkeypatch.setattr("paws.fit.progress.time", clock)
    progress = StepProgress()
    estimate.announce(progress, network, FILES, 1000, options, 1)  # type: ignore[arg-type]
    assert progress.seconds["embed"] == pytest.approx(0.1 / clock.share * len(network.embedded), rel=0.1), "it is work done"
    said = " ".join(capsys.readouterr().out.split())
    minutes = round((1000 * 0.2 + (estimate.HEADS[0] + 1000 * estimate.HEADS[1]) / 0.5) / 60)
    assert f"1,000 images x 2 views to embed: about {minutes} minutes {until}, " in said
