"""What a network of a PyPI package looks like, kept on this machine, so that timm is imported only where one is to run.

Building a network to learn the names of its tensors and the width of its features takes over a second, imports included.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paws.data.texts import from_json
from paws.errors import InputError
from paws.models.runtime import cache_folder
from paws.runs.files import write_text
from paws.runs.keys import content_key


@dataclass(frozen=True)
class Known:
    """A network at a size: its preprocessing, the width of its features, and the names of its tensors in their order."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    feature_dim: int
    names: tuple[str, ...]


def recall(name: str, size: int | None, layers: Sequence[str], weights: Path) -> Known | None:
    """What `keep` was told of the network; None where it was not, where the file or timm changed since, or it is damaged."""
    try:
        found = from_json(_path(name, size, layers, weights).read_bytes())
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
        known = Known(**values)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    sound = {int: (known.size, known.feature_dim), tuple: (known.mean, known.std, known.names), str: (known.interpolation,)}
    return known if all(isinstance(value, kind) for kind, values in sound.items() for value in values) else None


def keep(known: Known, name: str, size: int | None, layers: Sequence[str], weights: Path) -> None:
    """Keep what was learned of the network ``name`` for an asked ``size``, whose ``weights`` are in a file.

    Where it cannot be written, it is learned again.
    """
    path = _path(name, size, layers, weights)
    with suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(known)))


def _path(name: str, size: int | None, layers: Sequence[str], weights: Path) -> Path:
    status = weights.stat()
    made = (version("timm"), str(weights), status.st_size, status.st_mtime_ns)
    return cache_folder() / "networks" / f"{content_key(name, size, list(layers), *made)}.json"
