"""One key for one content: types, shapes and borders between values count, the process and the order of keys do not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from paws.runs.keys import content_key


@dataclass(frozen=True)
class Settings:
    steps: int
    names: tuple[str, ...]


DIFFERENT = [
    (),
    (None,),
    (0,),
    (False,),
    (0.0,),
    ("0",),
    (b"0",),
    (Path("0"),),
    ([0],),
    ({"0": 0},),
    ("ab", "c"),
    ("a", "bc"),
    (["a"], "b"),
    (["a", "b"],),
    (torch.zeros(2),),
    (torch.zeros(1, 2),),
    (torch.zeros(2, dtype=torch.float16),),
    (np.zeros(2),),
    (np.zeros(2, np.float32),),
    (Settings(1, ("a",)),),
    (Settings(1, ("a", "b")),),
]


def test_other_values_have_other_keys() -> None:
    keys = [content_key(*values) for values in DIFFERENT]
    assert len(set(keys)) == len(keys)
    assert keys == [content_key(*values) for values in DIFFERENT]


def test_neither_the_order_of_a_mapping_nor_the_process_counts() -> None:
    assert content_key({"a": 1, "b": (2, 3)}) == content_key({"b": [2, 3], "a": 1})
    assert content_key(torch.arange(6).view(2, 3).T) == content_key(torch.tensor([[0, 3], [1, 4], [2, 5]]))
    code = "from paws.runs.keys import content_key; print(content_key({'a': 1, 'ü\\udcff': 2.5}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == content_key({"ü\udcff": 2.5, "a": 1})


def test_a_value_without_a_key_is_refused() -> None:
    with pytest.raises(TypeError, match="no key for a value of type object"):
        content_key([object()])
