"""The checkpoints of the published code (facebookresearch/suncet): reading, writing, and those on the net."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paws.data.download import download
from paws.errors import InputError
from paws.runs.checkpoint import save

ADDRESS = "https://dl.fbaipublicfiles.com/paws"
ROOTS = {"fc.": "head.", "pred.": "prediction_head."}  # all other published names belong to the backbone


@dataclass(frozen=True)
class Published:
    """A published ResNet-50, and its top-1 in percent on ImageNet's validation images (arXiv 2104.13963, table 1)."""

    labels: str  # share of the training images that were labelled
    epochs: int
    top1: float  # by soft nearest neighbours, or by the classifier if fine-tuned; not measured here
    fine_tuned: bool = False

    @property
    def url(self) -> str:
        name = f"paws_imgnt_{self.labels.removesuffix('%')}percent_{self.epochs}ep"
        return f"{ADDRESS}/{name}{'_finetuned' if self.fine_tuned else ''}.pth.tar"


PUBLISHED: dict[str, Published] = {
    entry.url.rpartition("/")[2].removesuffix(".pth.tar"): entry
    for entry in (
        Published("1%", 100, 61.5),
        Published("1%", 200, 63.2),
        Published("1%", 300, 64.2),
        Published("1%", 300, 66.5, fine_tuned=True),
        Published("10%", 100, 71.0),
        Published("10%", 200, 71.9),
        Published("10%", 300, 73.1),
        Published("10%", 300, 75.5, fine_tuned=True),
    )
}


def fetch(name: str, cache: str | Path = "~/.cache/paws") -> Path:
    """The file of one of the ``PUBLISHED`` checkpoints, downloaded on first use.

    Nobody publishes their checksums: that of the first download is recorded, and later files must equal it.
    Raises InputError for an unknown name, without a network, and for a file that changed.
    """
    short = name.removesuffix(".pth.tar")
    if short not in PUBLISHED:
        raise InputError(f"{name}: no such file, and not one of the published checkpoints {', '.join(PUBLISHED)}")
    return download(PUBLISHED[short].url, cache)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights in a published ``.pth.tar`` file, pre-trained or fine-tuned, under the names of our ``Encoder``.

    The optimiser's state in a resumable file is left out. No code in the file is ever run.

    Raises:
        InputError: the file is missing, truncated, holds code, or is no checkpoint of this kind.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported global" in str(error).lower():
            raise InputError(f"{path}: refused, it holds code and not only tensors and plain values") from error
        raise InputError(f"{path}: not a checkpoint of torch, or a damaged one") from error
    except OSError as error:
        raise InputError(f"{path}: the checkpoint cannot be read ({error.strerror or error})") from error
    except Exception as error:  # unpickling raises almost anything on damaged data
        raise InputError(f"{path}: the checkpoint is truncated or damaged") from error
    encoder = state.get("encoder") if isinstance(state, dict) else None
    if not isinstance(encoder, dict) or not encoder:
        found = ", ".join(map(str, list(state)[:8])) if isinstance(state, dict) else type(state).__name__
        raise InputError(f"{path}: expected a published checkpoint with the weights under 'encoder', found: {found}")
    if other := [str(name) for name, value in encoder.items() if not isinstance(value, torch.Tensor)]:
        raise InputError(f"{path}: encoder.{other[0]} is not a tensor")
    return {_our_name(str(name).removeprefix("module.")): value for name, value in encoder.items()}


def write_checkpoint(path: Path, encoder: nn.Module, **extra: Any) -> None:
    """Write the weights of an ``Encoder`` as the published code does, with ``extra`` entries such as ``epoch``.

    Raises:
        InputError: the file cannot be written, or a name of the backbone would be taken for one of a head.
    """
    names = {name: _published_name(name) for name in encoder.state_dict()}
    if clash := [name for name, published in names.items() if _our_name(published) != name]:
        raise InputError(f"{path}: the published format has no name for {clash[0]}")
    save(path, {"encoder": {names[name]: value for name, value in encoder.state_dict().items()}, **extra})


def _our_name(name: str) -> str:
    root = next((root for root in ROOTS if name.startswith(root)), "")
    return ROOTS.get(root, "backbone.") + name.removeprefix(root)


def _published_name(name: str) -> str:
    published = {ours: theirs for theirs, ours in ROOTS.items()}
    root = next((root for root in published if name.startswith(root)), "backbone.")
    return published.get(root, "") + name.removeprefix(root)
