"""The table of datasets: where each comes from, its size, and the statistics its images are normalised with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from paws.data.cifar import read_batch, read_class_names
from paws.data.folder import FileSet, class_names, index_folder
from paws.data.idx import find_idx, read_idx
from paws.data.store import Images, ImageSet
from paws.errors import InputError

SPLITS = ("train", "test")
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset before it is loaded. ``mean`` and ``std``: per channel, of images scaled to [0, 1]."""

    name: str
    channels: int
    size: int  # height and width of a large view
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int | None  # None: as many as there are class folders
    loader: Callable[[Path | None, str, Path | None], Images]


def load_dataset(name: str, root: str | Path | None, split: str, *, cache_dir: str | Path | None = None) -> Images:
    """The ``train`` or ``test`` images of a dataset of the table: in memory, or as files for ``folder``.

    ``root`` is the folder with its files (None: where the dataset's package puts them). ``cache_dir`` keeps the
    index of an image folder. Raises InputError for an unknown name or split and for missing or broken files.
    """
    if name not in DATASETS:
        raise InputError(f"data.dataset: {name!r} is not one of {', '.join(DATASETS)}")
    if split not in SPLITS:
        raise InputError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if root is not None:
        root = Path(root).expanduser()
        if not root.is_dir():
            raise InputError(f"{root}: no such folder (root of the dataset {name})")
    return DATASETS[name].loader(root, split, None if cache_dir is None else Path(cache_dir).expanduser())


def has_test(name: str, root: str | Path | None) -> bool:
    """Whether there is a ``test`` split to load; only a folder of classes alone has none."""
    return name != "folder" or root is None or _held_out(Path(root).expanduser()) is not None


def _digits(root: Path | None, split: str, cache_dir: Path | None) -> ImageSet:
    """scikit-learn's 1797 digits; a quarter of each class is the test set, drawn once and for all."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    scaled = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.25, stratify=labels, random_state=0)
    rows = np.sort(train if split == "train" else test)
    return _image_set(scaled[rows], labels[rows].astype(np.int64), tuple("0123456789"))


def _fashion_mnist(root: Path | None, split: str, cache_dir: Path | None) -> ImageSet:
    if root is None:
        if not DEBIAN_FASHION_MNIST.is_dir():
            raise InputError(
                "fashion_mnist: set data.root to the folder of FashionMNIST/raw or of train-images-idx3-ubyte[.gz]; "
                "on Debian and Ubuntu `apt-get install dataset-fashion-mnist` installs it"
            )
        root = DEBIAN_FASHION_MNIST
    folder = next((f for f in (root / "FashionMNIST/raw", root / "raw") if f.is_dir()), root)
    prefix = "train" if split == "train" else "t10k"
    image_file, label_file = (
        find_idx(folder, f"{prefix}-images-idx3-ubyte"),
        find_idx(folder, f"{prefix}-labels-idx1-ubyte"),
    )
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.shape[1:] != (28, 28) or len(images) == 0:
        raise InputError(f"{image_file}: has shape {images.shape}, expected (N, 28, 28)")
    if labels.shape != images.shape[:1]:
        raise InputError(f"{label_file}: has shape {labels.shape} for {len(images)} images")
    if labels.max() > 9:
        raise InputError(f"{label_file}: has the label {labels.max()}, expected 0..9")
    return _image_set(images[:, None], labels.astype(np.int64), FASHION_CLASSES)


def _cifar10(root: Path | None, split: str, cache_dir: Path | None) -> ImageSet:
    names = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
    return _cifar(root, "cifar-10-batches-py", names, "labels", ("batches.meta", "label_names"), 10)


def _cifar100(root: Path | None, split: str, cache_dir: Path | None) -> ImageSet:
    return _cifar(root, "cifar-100-python", [split], "fine_labels", ("meta", "fine_label_names"), 100)


def _cifar(
    root: Path | None, folder_name: str, names: list[str], label_key: str, meta: tuple[str, str], num_classes: int
) -> ImageSet:
    """Images in torchvision's order: the batches one after the other."""
    if root is None:
        raise InputError(
            f"set data.root to the folder that holds {folder_name} (of https://www.cs.toronto.edu/~kriz/cifar.html)"
        )
    folder = root if root.name == folder_name else root / folder_name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; unpack the python version of the dataset in {root}")
    batches = [read_batch(folder / name, label_key, num_classes) for name in names]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return _image_set(images, labels, read_class_names(folder / meta[0], meta[1], num_classes))


def _folder(root: Path | None, split: str, cache_dir: Path | None) -> FileSet:
    """``root/train`` and ``root/val`` (or ``test``) with a folder per class each, or ``root`` with class folders."""
    if root is None:
        raise InputError("folder: set data.root to a folder with train/<class>/ and val/<class>/, or with <class>/ folders")
    train, held_out = root / "train", _held_out(root)
    if not train.is_dir():
        train = root
        if held_out is not None and class_names(held_out):
            raise InputError(f"{root}: has {held_out.name}/ with class folders but no train/")
    if split == "train":
        return index_folder(train, cache_dir)
    if held_out is None:
        raise InputError(f"{root}: has neither val/ nor test/ with class folders, so there is no test split")
    return index_folder(held_out, cache_dir, classes=class_names(train))


def _held_out(root: Path) -> Path | None:
    return next((folder for folder in (root / "val", root / "test") if folder.is_dir()), None)


def _image_set(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> ImageSet:
    return ImageSet(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels), classes)


DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo("digits", 1, 8, (0.3053,), (0.3760,), 10, _digits),
        DatasetInfo("fashion_mnist", 1, 28, (0.2860,), (0.3530,), 10, _fashion_mnist),
        DatasetInfo("cifar10", 3, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 10, _cifar10),
        DatasetInfo("cifar100", 3, 32, (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762), 100, _cifar100),
        DatasetInfo("folder", 3, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), None, _folder),
    )
}
