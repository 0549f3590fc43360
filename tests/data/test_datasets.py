"""The dataset table reads every published layout, and never runs what a data file says."""

import gzip
import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paws.data.cifar import read_batch
from paws.data.datasets import DATASETS, DEBIAN_FASHION_MNIST, has_test, load_dataset
from paws.data.folder import FileSet
from paws.data.idx import read_idx
from paws.errors import InputError


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes as Python 2 wrote its strings: as the published batches hold them."""

    def save_string(self, value):
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    dispatch = {**pickle._Pickler.dispatch, bytes: save_string}  # type: ignore[attr-defined]  # noqa: RUF012


def dump(content: object, python2: bool) -> bytes:
    stream = io.BytesIO()
    (Python2Pickler if python2 else pickle.Pickler)(stream, protocol=2).dump(content)
    return stream.getvalue()


@pytest.fixture(params=[True, False], ids=["python2", "python3"])
def cifar(tmp_path: Path, request) -> tuple[Path, np.ndarray, np.ndarray]:
    """A root with both sets, 4 images per batch; all images and labels in the order of the batches."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 3072), dtype=np.uint8)
    labels = rng.integers(0, 10, 24)
    ten, hundred = tmp_path / "cifar-10-batches-py", tmp_path / "cifar-100-python"
    ten.mkdir()
    hundred.mkdir()
    key = str.encode if request.param else str
    for i, name in enumerate([*(f"data_batch_{j}" for j in range(1, 6)), "test_batch"]):
        part = slice(4 * i, 4 * i + 4)
        batch = {key("data"): images[part], key("labels"): labels[part].tolist(), key("batch_label"): key("x")}
        (ten / name).write_bytes(dump(batch, request.param))
    (ten / "batches.meta").write_bytes(dump({key("label_names"): [key(f"c{i}") for i in range(10)]}, request.param))
    for name, part in (("train", slice(0, 20)), ("test", slice(20, 24))):
        batch = {key("data"): images[part], key("fine_labels"): (labels[part] * 10).tolist()}
        (hundred / name).write_bytes(dump(batch, request.param))
    (hundred / "meta").write_bytes(dump({key("fine_label_names"): [key(f"f{i}") for i in range(100)]}, request.param))
    return tmp_path, images.reshape(-1, 3, 32, 32), labels


def test_cifar_batches_in_order(cifar):
    root, images, labels = cifar
    for name, factor, prefix in (("cifar10", 1, "c"), ("cifar100", 10, "f")):
        for split, part in (("train", slice(0, 20)), ("test", slice(20, 24))):
            found = load_dataset(name, root, split)
            assert found.images.dtype == torch.uint8 and found.labels.dtype == torch.int64
            np.testing.assert_array_equal(found.images.numpy(), images[part])
            np.testing.assert_array_equal(found.labels.numpy(), labels[part] * factor)
            assert found.classes[3] == f"{prefix}3" and len(found.classes) == DATASETS[name].num_classes
    inner = load_dataset("cifar10", root / "cifar-10-batches-py", "test")
    np.testing.assert_array_equal(inner.images.numpy(), images[20:])


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_cifar_code_in_a_batch_is_refused_and_not_run(cifar, tmp_path):
    root = cifar[0]
    batch = {"data": Attack(tmp_path / "ran"), "labels": [0]}
    (root / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(InputError, match=r"test_batch.*mkdir"):
        load_dataset("cifar10", root, "test")
    assert not (tmp_path / "ran").exists()


IMAGES = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "holds a list"),
        ({"data": IMAGES}, "needs data and labels"),
        ({"data": IMAGES[:, :5], "labels": [0, 1]}, "uint8 array of shape (N, 3072)"),
        ({"data": IMAGES.astype(float), "labels": [0, 1]}, "uint8 array"),
        ({"data": "text", "labels": [0, 1]}, "uint8 array"),
        ({"data": IMAGES, "labels": [0]}, "2 images but labels of shape (1,)"),
        ({"data": IMAGES, "labels": [0, 10]}, "outside of 0..9"),
        ({"data": IMAGES, "labels": [0, -1]}, "outside of 0..9"),
        ({"data": IMAGES, "labels": ["a", "b"]}, "not a list of integers"),
        ({"data": IMAGES[:0], "labels": []}, "0 images"),
    ],
)
def test_cifar_wrong_contents_are_named(tmp_path, batch, message):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(InputError, match="test_batch: .*" + re.escape(message)):
        load_dataset("cifar10", tmp_path, "test")


def test_cifar_numbers_that_numpy_would_not_survive(tmp_path):
    """The state of a type of numbers, one item short, makes numpy write beyond its memory when it unpickles it."""
    whole = pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]}, protocol=2)
    short = whole.replace(b"NNNJ", b"NNJ").replace(b"NNJ", b"NJ")
    assert len(short) < len(whole)
    (tmp_path / "batch").write_bytes(short)
    images, labels = read_batch(tmp_path / "batch", "labels", 10)
    assert not images.any() and labels.tolist() == [1, 2]
    assert np.dtype(np.uint8).itemsize == 1


@pytest.mark.parametrize("key", ["data", "labels"])
def test_cifar_lists_in_lists_take_no_memory(key, tmp_path):
    endless: list = [1]
    for _ in range(60):
        endless = [endless, endless]
    batch = {"data": IMAGES[:2], "labels": [1, 2], key: endless}
    (tmp_path / "batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(InputError, match="batch: "):
        read_batch(tmp_path / "batch", "labels", 10)


def test_cifar_cut_files_are_named(cifar):
    root = cifar[0]
    path = root / "cifar-10-batches-py/data_batch_3"
    whole = path.read_bytes()
    for size in (0, 1, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="data_batch_3"):
            load_dataset("cifar10", root, "train")
    path.unlink()
    with pytest.raises(InputError, match="data_batch_3: cannot be read"):
        load_dataset("cifar10", root, "train")


@pytest.mark.parametrize("layout", ["FashionMNIST/raw", "raw", "."])
@pytest.mark.parametrize("zipped", [False, True])
def test_fashion_mnist_layouts(tmp_path, layout, zipped):
    rng = np.random.default_rng(0)
    folder = tmp_path / layout
    folder.mkdir(parents=True, exist_ok=True)
    sets = {}
    for split, prefix, count in (("train", "train", 6), ("test", "t10k", 3)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx_bytes(array)
            name = f"{prefix}-{kind}-ubyte{'.gz' if zipped else ''}"
            (folder / name).write_bytes(gzip.compress(data) if zipped else data)
        sets[split] = images, labels
    for split, (images, labels) in sets.items():
        found = load_dataset("fashion_mnist", tmp_path, split)
        np.testing.assert_array_equal(found.images.numpy()[:, 0], images)
        np.testing.assert_array_equal(found.labels.numpy(), labels)


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="the package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_the_debian_package():
    found = load_dataset("fashion_mnist", None, "test")
    assert found.images.shape == (10_000, 1, 28, 28)
    assert found.labels.bincount().tolist() == [1000] * 10
    mean, std = (found.images.float() / 255).mean().item(), (found.images.float() / 255).std().item()
    assert (mean, std) == pytest.approx((DATASETS["fashion_mnist"].mean[0], DATASETS["fashion_mnist"].std[0]), abs=2e-3)


def test_fashion_mnist_missing_files_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="neither train-images-idx3-ubyte nor"):
        load_dataset("fashion_mnist", tmp_path, "train")
    monkeypatch.setattr("paws.data.datasets.DEBIAN_FASHION_MNIST", tmp_path / "nowhere")
    with pytest.raises(InputError, match="apt-get install dataset-fashion-mnist"):
        load_dataset("fashion_mnist", None, "train")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 27, 28)), np.zeros(2), r"train-images.*expected \(N, 28, 28"),
        (np.zeros((0, 28, 28)), np.zeros(0), "train-images"),
        (np.zeros((2, 28, 28)), np.zeros(3), r"train-labels.*for 2 images"),
        (np.zeros((2, 28, 28)), np.full(2, 10), r"train-labels.*label 10"),
    ],
)
def test_fashion_mnist_wrong_contents(tmp_path, images, labels, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(images.astype(np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels.astype(np.uint8)))
    with pytest.raises(InputError, match=message):
        load_dataset("fashion_mnist", tmp_path, "train")


def test_idx_round_trip_and_broken_files(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    whole, path, zipped = idx_bytes(array), tmp_path / "a.idx", tmp_path / "a.idx.gz"
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_idx(path), array)
    cases = [whole[:size] for size in (0, 3, 9, 16, len(whole) - 1)] + [whole + b"x", b"\0\0\x0d\3" + whole[4:], b"PNG!"]
    cases.append(b"\0\0\x08\4" + b"\xff" * 16)  # promises more bytes than there are in the world
    for data in cases:
        path.write_bytes(data)
        zipped.write_bytes(gzip.compress(data))
        for broken in (path, zipped):
            with pytest.raises(InputError, match=re.escape(str(broken))):
                read_idx(broken)
    compressed = gzip.compress(whole)
    for data in (compressed[:20], compressed[:-9], b"", b"no gzip", compressed[:15] + b"\xff" * 9 + compressed[24:]):
        zipped.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.idx\.gz"):
            read_idx(zipped)
    with pytest.raises(InputError, match="gone"):
        read_idx(tmp_path / "gone")


def test_digits_are_bundled_and_split_once_and_for_all():
    train, test = (load_dataset("digits", None, split) for split in ("train", "test"))
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (1, 8, 8) and train.images.dtype == torch.uint8
    assert train.images.max() == 255 and train.images.min() == 0
    counts = train.labels.bincount(), test.labels.bincount()
    assert all(abs(int(b) - int(a + b) / 4) <= 1 for a, b in zip(*counts, strict=True))
    assert torch.equal(train.images, load_dataset("digits", None, "train").images)
    as_rows = {image.tobytes() for image in train.images.numpy()}
    assert not any(image.tobytes() in as_rows for image in test.images.numpy())


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_folder_layouts(tmp_path, held_out):
    for name in ("train/b/1.png", "train/a/2.png", "train/a/1.png", f"{held_out}/b/9.png"):
        picture(tmp_path / name)
    train, test = (load_dataset("folder", tmp_path, split) for split in ("train", "test"))
    assert isinstance(train, FileSet) and isinstance(test, FileSet)
    assert list(train.names) == ["a/1.png", "a/2.png", "b/1.png"] and train.classes == test.classes == ("a", "b")
    assert train.labels.tolist() == [0, 0, 1] and test.labels.tolist() == [1]
    assert list(test.paths) == [str(tmp_path / held_out / "b/9.png")]
    only = load_dataset("folder", tmp_path / "train", "train")
    assert list(only.names) == list(train.names)
    with pytest.raises(InputError, match="neither val/ nor test/"):
        load_dataset("folder", tmp_path / "train", "test")
    picture(tmp_path / held_out / "c/1.png")
    with pytest.raises(InputError, match=f"{held_out}/c: no such class"):
        load_dataset("folder", tmp_path, "test")


def test_unknown_names_and_missing_roots(tmp_path):
    with pytest.raises(InputError, match=r"'mnist' is not one of digits, .*cifar10"):
        load_dataset("mnist", None, "train")
    with pytest.raises(InputError, match="'valid' is not one of train, test"):
        load_dataset("digits", None, "valid")
    with pytest.raises(InputError, match="gone: no such folder"):
        load_dataset("cifar10", tmp_path / "gone", "train")
    for name in ("cifar10", "cifar100", "folder"):
        with pytest.raises(InputError, match=r"data\.root"):
            load_dataset(name, None, "train")
    with pytest.raises(InputError, match="cifar-10-batches-py: no such folder"):
        load_dataset("cifar10", tmp_path, "train")


def test_a_folder_without_train_but_with_val_is_refused(tmp_path):
    picture(tmp_path / "val/a/1.png")
    picture(tmp_path / "pictures/1.png")
    with pytest.raises(InputError, match="has val/ with class folders but no train/"):
        load_dataset("folder", tmp_path, "train")


def test_only_folders_may_lack_a_test_split(tmp_path):
    picture(tmp_path / "train/a/1.png")
    assert has_test("digits", None) and not has_test("folder", tmp_path)
    (tmp_path / "test").mkdir()
    assert has_test("folder", tmp_path)
