"""What parsers are given at random, and how often."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

MANY = int(os.environ.get("PAWS_FUZZ", "0"))  # examples of each parser
some = settings(
    max_examples=MANY or 25,
    deadline=None,
    database=None,
    derandomize=not MANY,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
ENDS = ("\n", "\r\n", "\r")
words = st.text(st.characters(codec="utf-8"), max_size=12)
cells = words | st.sampled_from(["file", "label", "a.png", '"', '""', ",", ";", "\t", "-1", "nan", "../x", "\ufeff", "\0"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
numbers = st.sampled_from([-1, 0, 1, 2, 3, 1000, 2**31, 2**40, 2**70, 0.5, -0.5, 1e-300, 1e300])


def changed(data: bytes) -> SearchStrategy[bytes]:
    """``data`` with some bytes replaced, cut out or doubled."""
    edits = st.tuples(st.integers(0, max(0, len(data) - 1)), st.binary(max_size=4), st.integers(0, 4))

    def apply(made: list[tuple[int, bytes, int]]) -> bytes:
        content = bytearray(data)
        for place, new, length in made:
            content[place : place + length] = new
        return bytes(content)

    return st.lists(edits, min_size=1, max_size=5).map(apply)


def damaged(value: object, place: int, new: object) -> object:
    """A copy of JSON in which the value at ``place`` of all values, counted in depth, is ``new`` or, if None, missing."""
    left = [place]

    def walk(inner: object) -> object:
        left[0] -= 1
        if left[0] == -1:
            return new
        if isinstance(inner, dict):
            return {
                key: found
                for key, found in ((key, walk(item)) for key, item in inner.items())
                if left[0] >= 0 or found is not None
            }
        return [walk(item) for item in inner] if isinstance(inner, list) else inner

    return walk(value)
