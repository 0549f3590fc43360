"""The short form of every benchmark runs, and what does not depend on the machine's speed reaches its bar."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAST = ("house", "index", "nt_xent", "soft_nn", "suggest", "suspicious")  # under ten CPU-seconds or little more
SLOW = (
    "bn_momentum",
    "crowded",
    "digits",
    "embed",
    "first_fit",
    "folders",
    "label_efficiency",
    "labelling",
    "own_images",
    "ranks",
    "relabel",
    "step",
    "views",
)
LONG = ("gpu", "label_key", "label_page", "train")  # no short form, or no device here
NEEDED = ("__init__", "fashion", "features", "fixmatch", "letters", "side_by_side")  # what benchmarks share


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_the_short_form_runs(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["missed"] == [], done.stdout
    assert done.returncode == bool(found["missed_timings"])


def test_every_benchmark_is_run_by_a_test_and_by_make() -> None:
    packages = {path.parent.name for path in (ROOT / "benchmarks").glob("*/__main__.py")}
    assert packages | {path.stem for path in (ROOT / "benchmarks").glob("*.py")} == {*FAST, *SLOW, *LONG, *NEEDED}
    quick = re.search(r"^QUICK := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert quick and set(quick[1].split()) == {*FAST, *SLOW}
