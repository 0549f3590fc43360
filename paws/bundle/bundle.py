"""A bundle: everything that predictions need in one folder of safetensors and JSON, with checksums and without pickle.

bundle = paws.load("runs/flowers/bundle")
bundle.predict(["new/1.jpg", "new/2.jpg"])
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from paws.bundle import format_2
from paws.bundle.table import DIGITS, NEAREST, Prediction, abstains, to_frame
from paws.classifiers.base import Near
from paws.classifiers.classifier import Classifier
from paws.data.texts import from_json
from paws.errors import InputError
from paws.models.embedding import Embedder
from paws.models.frozen import Network
from paws.models.joined import Backbone, frozen_from
from paws.runs.files import new_folder, write_bytes

if TYPE_CHECKING:
    import pandas as pd

Pictures = Sequence[str | Path | Image.Image | np.ndarray]
SHOWN = 5  # classes that the short form names
FORMAT = 4  # 3 had no components; 2 rules in place of predictors (`paws.bundle.format_2`); 1 calibrated with the floor
ABOUT = "bundle.json"
FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)  # of wrong contents
TENSORS = ("classifier.safetensors", "backbone.safetensors")


@dataclass(repr=False)
class Bundle:
    """A classifier with its backbone, ready to predict."""

    classifier: Classifier
    frozen: Backbone
    support_files: tuple[str, ...]  # (S) the labelled images, as they were named when it was fitted
    about: dict[str, Any] = field(default_factory=dict)  # versions, and what else was noted when it was saved
    device: str = "cpu"

    def __repr__(self) -> str:
        names = ", ".join(self.classes[:SHOWN]) + (", …" if len(self.classes) > SHOWN else "")
        method = self.classifier.predictor.title
        return (
            f"Bundle({method} on {self.frozen.name}: {len(self.classes)} classes ({names}), {len(self.support_files)} labels)"
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but the network as it runs, which cannot be pickled, and is built again when it is needed."""
        return {name: value for name, value in vars(self).items() if name != "embedder"}

    @property
    def classes(self) -> tuple[str, ...]:
        """The C classes, in the order of the probabilities."""
        return self.classifier.classes

    @cached_property
    def embedder(self) -> Embedder:
        """What computes the features of pictures."""
        return Embedder(self.frozen, self.device)

    @overload
    def predict(self, images: Pictures, *, as_frame: Literal[False] = False) -> list[Prediction]: ...
    @overload
    def predict(self, images: Pictures, *, as_frame: Literal[True]) -> pd.DataFrame: ...
    def predict(self, images: Pictures, *, as_frame: bool = False) -> list[Prediction] | pd.DataFrame:
        """Predictions of image files, Pillow images or uint8 arrays (H, W[, 3]), in order; ``as_frame``: a pandas DataFrame.

        Raises:
            InputError: an image cannot be read.
        """
        images = _several(images)
        found = self.predict_features([_name(image) for image in images], self.features(images))
        return to_frame(found) if as_frame else found

    def features(self, images: Sequence[str | Path | Image.Image | np.ndarray]) -> Tensor:
        """Frozen features (N, D) of image files, Pillow images or uint8 arrays (H, W[, 3]), in order.

        Raises:
            InputError: an image cannot be read.
        """
        return self.embedder.features(images)[:, 0]

    def predict_features(self, names: Sequence[str], features: Tensor, near: Near | None = None) -> list[Prediction]:
        """Predictions of images whose features (N, D), or of V views (N, V, D), are there already. Raises InputError else.

        ``near``: the images of the pool that are nearest to them, where they are known.
        """
        if not isinstance(features, Tensor) or features.ndim not in (2, 3) or len(features) != len(names):
            raise InputError(f"expected features (N, D) of {len(names)} images as a tensor, not {reprlib.repr(features)}")
        votes = self.classifier.votes(features, k=NEAREST, near=near)
        top = votes.probabilities.topk(2, dim=1)  # (N, 2): there are at least two classes
        threshold = float(self.classifier.threshold)
        columns = (top.values, top.indices, votes.novelty, votes.strange, votes.neighbours, votes.weights)
        return [
            Prediction(
                file=name,
                label=self.classes[first],
                probability=p,
                second=self.classes[second],
                second_probability=q,
                abstain=abstains(p, threshold, strange),
                classes=self._set(every),
                none=none_probability(self.classifier, every, strange),
                unfamiliar=unfamiliar,
                nearest=tuple((self.support_files[row], weight) for row, weight in zip(rows, weights, strict=True)),
            )
            for name, every, (p, q), (first, second), unfamiliar, strange, rows, weights in zip(
                names, votes.probabilities, *(column.tolist() for column in columns), strict=True
            )
        ]

    def _set(self, probabilities: Tensor) -> tuple[str, ...]:
        """The classes of probabilities (C,) that hold the true one with the accuracy asked for, the most probable first."""
        least = round(float(self.classifier.set_threshold), DIGITS)
        if not least:
            return ()
        values, order = probabilities.tolist(), probabilities.argsort(descending=True).tolist()
        chosen = [row for row in order if round(values[row], DIGITS) >= least]
        return tuple(self.classes[row] for row in chosen or [int(probabilities.argmax())])


def none_probability(classifier: Classifier, probabilities: Tensor, strange: float) -> float | None:
    """Probability that an image with class ``probabilities`` (C,) belongs to no class; None where nothing tells of it.

    It is ``strange``, like no labelled image, or like those of the class of images that belong to no other.
    """
    if not classifier.knows_strangers:
        return None
    named = 0.0 if classifier.none_class is None else float(probabilities[classifier.classes.index(classifier.none_class)])
    return 1 - (1 - named) * (1 - strange)


def save_bundle(
    folder: Path,
    classifier: Classifier,
    frozen: Backbone,
    files_of_supports: Sequence[str],
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a bundle; a former one in ``folder`` is replaced only when the new one is whole.

    ``files_of_supports`` (S) name the labelled images in the order of the classifier's support; ``extra`` is noted in
    bundle.json.
    """
    contents = {
        TENSORS[0]: to_bytes({name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()}),
        TENSORS[1]: to_bytes({name: value.detach().cpu().contiguous() for name, value in frozen.weights().items()}),
    }
    about = {
        "format": FORMAT,
        "classifier": classifier.config(),
        "backbone": frozen.config(),
        "support_files": list(files_of_supports),
        "versions": {name: version(name) for name in ("paws-ssl", "torch", "timm", "onnxruntime")},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
        **(extra or {}),
    }
    about["checksum"] = _checksum(about)
    contents[ABOUT] = (json.dumps(about, indent=1) + "\n").encode()
    with new_folder(folder, replace=True) as new:
        for name, data in contents.items():
            write_bytes(new / name, data)


def load_bundle(folder: str | Path, *, device: str = "cpu", networks: Mapping[str, Network] = MappingProxyType({})) -> Bundle:
    """Read and verify a bundle. The backbone is built when it is first needed; ``networks``: those from Python, by name.

    Raises:
        InputError: no bundle, one of another format, or files that are missing or were edited, all of them named.
    """
    if not isinstance(folder, str | Path) or not _is_device(device):
        raise InputError(f"folder {folder!r}, device {device!r}: expected a path, and cpu, cuda, cuda:N or mps")
    folder = Path(folder)
    about = _verified(folder)
    try:
        config, state = about["classifier"], load_file(folder / TENSORS[0])
        if about["format"] == 2:
            config, state = format_2.convert(config, state)
        classifier = Classifier.restored(config, state)
        frozen = frozen_from(about["backbone"], partial(_tensors, folder / TENSORS[1]), networks)
        supports = tuple(map(str, about["support_files"]))
        fault = _fault(classifier, frozen, supports)
    except (InputError, *FAULTS) as error:
        fault = str(error) if isinstance(error, InputError) else repr(error)
    if fault:
        raise InputError(f"{folder}: cannot be used as a bundle: {fault}; fit again, or copy it again")
    return Bundle(classifier, frozen, supports, about, device)


def _is_device(name: object) -> bool:
    try:
        return isinstance(name, str) and torch.device(name).type in ("cpu", "cuda", "mps")
    except RuntimeError:
        return False


def _verified(folder: Path) -> dict[str, Any]:
    """What a bundle says of itself, after every file in it was held against its checksum."""
    if not (folder / ABOUT).is_file():
        hint = f"; is it {folder / 'bundle'}?" if (folder / "bundle" / ABOUT).is_file() else ""
        raise InputError(f"{folder}: holds no bundle (no {ABOUT}){hint}")
    try:
        about = dict(from_json((folder / ABOUT).read_bytes()))
        form = about.get("format")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / ABOUT}: cannot be read as the description of a bundle: {error!r}") from None
    if form not in (2, 3, FORMAT):
        raise InputError(f"{folder}: a bundle of format {form}; this version reads 2 to {FORMAT}; call paws fit again")
    try:
        intact, digests = about["checksum"] == _checksum(about), {name: str(about["files"][name]) for name in TENSORS}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / ABOUT}: does not list what a bundle holds ({error!r}); fit again, or copy it again"
        ) from None
    problems = [] if intact else [f"{ABOUT} was edited"]
    for name, digest in digests.items():
        try:
            with open(folder / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    problems.append(f"{name} was edited or damaged")
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
    if problems:
        raise InputError(f"{folder}: not the bundle that was saved: {'; '.join(problems)}; fit again, or copy it again")
    return about


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _fault(classifier: Classifier, frozen: Backbone, supports: Sequence[str]) -> str | None:
    """What does not fit together; None where an image can be predicted."""
    width, count = classifier.support.shape[1], len(classifier.support)
    if width != frozen.feature_dim or not count:
        return f"its {count} labelled images have {width} features, the backbone has {frozen.feature_dim}"
    if len(supports) != count or len(classifier.support_labels) != count:
        return f"{len(supports)} names and {len(classifier.support_labels)} labels of {count} labelled images"
    if not 0 <= int(classifier.support_labels.min()) <= int(classifier.support_labels.max()) < len(classifier.classes):
        return f"labels outside of its {len(classifier.classes)} classes"
    numbers = [*classifier.state_dict().values(), classifier.votes(classifier.support[:1]).probabilities]
    return None if all(bool(value.isfinite().all()) for value in numbers) else "numbers in it are not finite"


def _checksum(about: dict[str, Any]) -> str:
    content = {key: value for key, value in about.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _several(images: Pictures) -> list[str | Path | Image.Image | np.ndarray]:
    """Images as a list: a column of a table and a generator too. Raises InputError where it is one image."""
    if hasattr(images, "columns"):  # a pandas DataFrame, which goes by its columns
        raise InputError(f"expected images, not a table of {', '.join(map(str, images.columns))}; give the column of the paths")
    if isinstance(images, str | Path) and Path(images).is_dir():
        raise InputError(f"{images} is a folder; of all images in it write sorted(Path({str(images)!r}).rglob('*.*'))")
    one = isinstance(images, str | bytes | Path | Image.Image) or not isinstance(images, Iterable)
    if one or (isinstance(images, np.ndarray) and (images.ndim == 2 or images.shape[2:] in ((1,), (3,)))):
        raise InputError(f"expected several images, not {reprlib.repr(images)}; of a single one write [image]")
    return list(images)


def _name(image: str | Path | Image.Image | np.ndarray) -> str:
    return str(image) if isinstance(image, str | Path) else str(getattr(image, "filename", "") or "")
