"""``paws split`` as a user runs it: drawn splits, downloaded ones, and what it refuses."""

import hashlib
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from paws.data.datasets import load_dataset
from paws.data.splits import PUBLIC_SPLITS, public_url, read_split
from paws.data.task import load_task
from tests.digits_runs import finish, paws
from tests.images import WNIDS, cifar10_folder, imagenet_folder

PUBLIC = b"n01440764_1.JPEG\nn01443537_2.JPEG\n"


def split(folder, *arguments, code=0):
    """(stdout, stderr) of ``paws split ARGUMENTS`` in a folder."""
    return finish(paws("split", *map(str, arguments), cwd=folder), code=code)


def indices(path):
    return [int(line) for line in path.read_text().splitlines()]


def test_so_many_of_each_class_by_index_and_others_for_validation(tmp_path):
    out, _ = split(tmp_path, "a.txt", "--dataset", "digits", "--per-class", 4, "--validation", 3)
    assert "a.txt: 40 of 1347 training images, 10 classes" in out and "a-val.txt: 30 of 1347" in out
    labels = load_dataset("digits", None, "train").labels
    chosen, held_out = indices(tmp_path / "a.txt"), indices(tmp_path / "a-val.txt")
    assert Counter(labels[chosen].tolist()) == dict.fromkeys(range(10), 4)
    assert Counter(labels[held_out].tolist()) == dict.fromkeys(range(10), 3)
    assert not set(chosen) & set(held_out)
    split(tmp_path, "again.txt", "--dataset", "digits", "--per-class", 4)
    split(tmp_path, "other.txt", "--dataset", "digits", "--per-class", 4, "--seed", 1)
    assert indices(tmp_path / "again.txt") == chosen != indices(tmp_path / "other.txt")


def test_a_share_of_cifar10_by_index(tmp_path):
    cifar10_folder(tmp_path)
    split(tmp_path, "new/c.txt", "--dataset", "cifar10", "--root", ".", "--fraction", 0.3)
    labels = torch.arange(100) % 10
    assert Counter(labels[indices(tmp_path / "new/c.txt")].tolist()) == dict.fromkeys(range(10), 3)


def test_an_image_folder_by_name_as_imagenets_files(tmp_path):
    imagenet_folder(tmp_path / "imagenet")
    split(tmp_path, "10percent.txt", "--dataset", "folder", "--root", "imagenet", "--fraction", 0.2, "--validation", 5)
    names = (tmp_path / "10percent.txt").read_text().split()
    assert Counter(name.split("_")[0] for name in names) == dict.fromkeys(WNIDS[:4], 2)
    assert all((tmp_path / "imagenet/train" / name.split("_")[0] / name).is_file() for name in names)
    task = load_task(
        "folder", tmp_path / "imagenet", file=tmp_path / "10percent.txt", validation=tmp_path / "10percent-val.txt"
    )
    assert len(task.labelled) == 8 and len(task.validation) == 20
    everything = load_dataset("folder", tmp_path / "imagenet", "train")
    assert torch.equal(task.labelled, read_split(tmp_path / "10percent.txt", len(everything), everything.names))


DRAW = ["--dataset", "digits", "--per-class", "4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--per-class", "4"], "--dataset is missing"),
        (["--dataset", "digits"], "give one of --per-class N and --fraction F"),
        ([*DRAW, "--fraction", "0.1"], "give one of --per-class N and --fraction F"),
        (["--dataset", "digitz", "--per-class", "4"], "'digitz' is not one of digits"),
        (["--dataset", "digits", "--fraction", "1.5"], "fraction is 1.5, must be above 0 and at most 1"),
        (["--dataset", "digits", "--per-class", "400"], "per_class is 400, but class 0 has 133 images"),
        ([*DRAW, "--validation", "130"], "130 images of each class are asked for, but class 0 has 129 besides"),
        (["--dataset", "folder", "--root", "gone", "--fraction", "0.1"], "gone: no such folder"),
        ([*DRAW, "--url", "https://example.org/a.txt"], "--dataset draws a split and --url downloads one"),
        ([*DRAW, "--sha256", "0" * 64], "--sha256 is the checksum of a download; give its --url"),
        (["--url", "cifar10-7"], "cifar10-7: neither an address (https://...) nor a public split (cifar10-73"),
        (["--url", "htp://nowhere/a.txt"], "htp://nowhere/a.txt: files are downloaded only over https"),
        (["--url", "http://127.0.0.1:9/a.txt", "--sha256", "12"], "SHA-256 12: expected 64 hexadecimal digits"),
    ],
)
def test_mistakes_end_with_code_2_and_write_nothing(arguments, message, tmp_path):
    _, err = split(tmp_path, "a.txt", *arguments, code=2)
    assert message in err and "Traceback" not in err
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".output-")]


def test_neither_file_is_ever_overwritten(tmp_path):
    (tmp_path / "a-val.txt").write_text("precious")
    _, err = split(tmp_path, "a.txt", *DRAW, "--validation", 2, code=2)
    assert "a-val.txt: exists already" in err and not (tmp_path / "a.txt").exists()
    (tmp_path / "a.txt").write_text("precious")
    for arguments in (DRAW, ["--url", "http://127.0.0.1:9/a.txt"]):
        _, err = split(tmp_path, "a.txt", *arguments, code=2)
        assert "a.txt: exists already" in err
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "a-val.txt").read_text() == "precious"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    (folder / "90percent.txt").write_bytes(PUBLIC)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_public_split_is_downloaded_and_must_have_its_checksum(server, tmp_path):
    checksum = hashlib.sha256(PUBLIC).hexdigest()
    for wrong, message in (("0" * 64, f"SHA-256 is {checksum}, expected {'0' * 64}; nothing was written"),):
        _, err = split(tmp_path, "a.txt", "--url", f"{server}/90percent.txt", "--sha256", wrong, code=2)
        assert message in err
    _, err = split(tmp_path, "a.txt", "--url", f"{server}/gone.txt", "--sha256", checksum, code=2)
    assert "gone.txt: the server answered 404" in err
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".output-")]
    out, _ = split(tmp_path, "a.txt", "--url", f"{server}/90percent.txt", "--sha256", checksum.upper())
    assert f"a.txt: SHA-256 {checksum}, as expected" in out
    out, _ = split(tmp_path, "new/b.txt", "--url", f"{server}/90percent.txt")
    assert f"SHA-256 {checksum}; not compared with anything" in out
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "new/b.txt").read_bytes() == PUBLIC


def test_public_splits_have_names():
    assert len(PUBLIC_SPLITS) == 8
    assert PUBLIC_SPLITS["imagenet-1percent"].endswith("99percent.txt")  # the file counts the images without a label
    assert public_url("cifar10-152").endswith("/cifar10_subsets/spc.4000_split.152.txt")
