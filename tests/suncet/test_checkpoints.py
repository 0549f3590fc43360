"""Checkpoints of the published code: bit-equal round trips, evaluation from the command line, and what is refused."""

import hashlib
import json
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paws.errors import InputError
from paws.models import build_classifier, build_encoder
from paws.models.weights import assign, load_weights
from paws.suncet import PUBLISHED, checkpoints, fetch, read_checkpoint, write_checkpoint
from tests.digits_runs import finish, paws
from tests.images import WNIDS, imagenet_folder

KEYS = json.loads((Path(__file__).parents[1] / "golden/f_model_keys.json").read_text())
NETWORKS = {
    "resnet50_pred_2048": lambda: build_encoder("resnet50", output_dim=2048, prediction_head=True),
    "wide_resnet28w2_nopred_128": lambda: build_encoder("wide_resnet28w2", output_dim=128),
    "resnet50_fine_tune_1000": lambda: build_classifier("resnet50", 1000),
    "wide_resnet28w2_fine_tune_10": lambda: build_classifier("wide_resnet28w2", 10),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_checkpoints_round_trip_with_the_published_names(network, tmp_path):
    encoder, path = NETWORKS[network](), tmp_path / "a.pth.tar"
    write_checkpoint(path, encoder, epoch=3, opt={"state": {}}, amp=None)
    written = torch.load(path, weights_only=True)
    assert written["epoch"] == 3
    found = [(name, [list(t.shape), str(t.dtype)[6:]]) for name, t in written["encoder"].items()]
    assert found == [(name, spec) for name, spec in KEYS[network]["state_dict"].items()]
    if network.startswith("wide"):  # as a process group saves it
        torch.save({"encoder": {f"module.{name}": t for name, t in written["encoder"].items()}}, path)
    weights, state = read_checkpoint(path), encoder.state_dict()
    assert list(weights) == list(state)
    assert all(torch.equal(weights[name], state[name]) for name in state)


class _Code:
    def __reduce__(self):
        return os.system, ("touch code-ran",)


def test_what_is_no_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth.tar"
    write_checkpoint(path, build_encoder("wide_resnet28w2", output_dim=128))
    whole = path.read_bytes()
    for length in (0, 10, 1000, len(whole) // 2, len(whole) - 2000):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a.pth.tar: .*(truncated|damaged)"):
            read_checkpoint(path)
    torch.save({"encoder": {"conv1.weight": _Code()}}, path)
    with pytest.raises(InputError, match=r"a.pth.tar: refused, it holds code"):
        read_checkpoint(path)
    assert not (tmp_path / "code-ran").exists()
    path.write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"a.pth.tar: not a checkpoint"):
        read_checkpoint(path)
    for other in ({"model": {}}, torch.zeros(2), {"encoder": {}}):
        torch.save(other, path)
        with pytest.raises(InputError, match=r"a.pth.tar: expected a published checkpoint"):
            read_checkpoint(path)
    torch.save({"encoder": {"conv1.weight": 3}}, path)
    with pytest.raises(InputError, match=r"encoder.conv1.weight is not a tensor"):
        read_checkpoint(path)
    with pytest.raises(InputError, match=r"none.pth.tar: the checkpoint cannot be read"):
        read_checkpoint(tmp_path / "none.pth.tar")


def test_another_architecture_names_every_tensor(tmp_path):
    path = tmp_path / "a.pth.tar"
    write_checkpoint(path, build_encoder("wide_resnet28w2", output_dim=128))
    other = build_encoder("wide_resnet28w2", output_dim=64, prediction_head=True)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_weights(other, path)
    for part in ("head.fc3.weight is (128, 128), the network has (64, 128)", "missing prediction_head.fc1.weight"):
        assert part in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())
    with pytest.raises(InputError, match=r"surplus head.fc3.weight"):
        assign(build_classifier("wide_resnet28w2", 10), read_checkpoint(path), path)
    left = load_weights(other, path, allow_partial=True)
    assert {"head.fc3.weight", "prediction_head.fc1.weight"} <= set(left) and "backbone.conv1.weight" not in left


def test_the_published_files_and_their_figures(tmp_path):
    figures = {name: entry.top1 for name, entry in PUBLISHED.items()}
    names = [
        f"paws_imgnt_{labels}percent_{rest}" for labels in (1, 10) for rest in ("100ep", "200ep", "300ep", "300ep_finetuned")
    ]
    assert figures == dict(zip(names, [61.5, 63.2, 64.2, 66.5, 71.0, 71.9, 73.1, 75.5], strict=True))
    for name, entry in PUBLISHED.items():
        assert entry.url == f"https://dl.fbaipublicfiles.com/paws/{name}.pth.tar"
        assert entry.fine_tuned == name.endswith("finetuned")
    with pytest.raises(InputError, match="not one of the published checkpoints paws_imgnt_1percent_100ep"):
        fetch("paws_imgnt_5percent", tmp_path)


CLASSES, PER_CLASS = 8, 3


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Images, three labels per class in ImageNet's format, and a card; evaluation cuts 28 x 28 pixels without resizing."""
    place = tmp_path_factory.mktemp("imagenet")
    imagenet_folder(place / "imagenet", train=4, val=3, classes=CLASSES)
    lines = [f"{wnid}_{i}.JPEG\n" for i in (2, 0, 3)[:PER_CLASS] for wnid in WNIDS[:CLASSES]]
    (place / "90percent.txt").write_text("".join(lines))
    (place / "card.yaml").write_text(
        "data: {dataset: folder, root: imagenet, labels: {file: 90percent.txt}}\nviews: {preset: imagenet, size: 28}\n"
    )
    return place


def trained(network: torch.nn.Module) -> torch.nn.Module:
    """The network with running statistics and a classifier that are not those of its start."""
    draws = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean") or name.startswith("head.fc2"):
            value.copy_(0.1 * torch.randn(value.shape, generator=draws))
        elif name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=draws))
    return network


def outputs(network: torch.nn.Module, files: list[Path]) -> np.ndarray:
    """z (N, D) of images cut, scaled and normalised by hand, one at a time."""
    found = []
    for file in files:
        pixels = np.asarray(Image.open(file).convert("RGB"), dtype=np.float64)  # (40, 32, 3)
        pixels = (pixels[6:34, 2:30] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        with torch.no_grad():
            view = torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float()
            found.append(network.eval()(view)[1][0].double().numpy())
    return np.array(found)


def shares(scores: np.ndarray, truth: list[int]) -> dict[str, float]:
    """Top-1 and top-5 of scores (N, C) by counting."""
    ranks = [sum(other > row[label] for other in row) for row, label in zip(scores, truth, strict=True)]
    return {"top1": sum(rank < 1 for rank in ranks) / len(ranks), "top5": sum(rank < 5 for rank in ranks) / len(ranks)}


def expected(network: torch.nn.Module, place: Path, *, by_classifier: bool) -> dict[str, float]:
    """Figures of a network, computed apart from the product."""
    files = [file for wnid in WNIDS[:CLASSES] for file in sorted((place / "imagenet/val" / wnid).iterdir())]
    truth = [WNIDS.index(file.parent.name) for file in files]
    queries = outputs(network, files)
    if by_classifier:
        return shares(queries, truth)
    names = (place / "90percent.txt").read_text().split()
    supports = outputs(network, [place / "imagenet/train" / name.split("_")[0] / name for name in names])
    votes = np.zeros((len(queries), CLASSES))
    for row, query in zip(votes, queries, strict=True):
        for name, support in zip(names, supports, strict=True):
            cosine = query @ support / np.linalg.norm(query) / np.linalg.norm(support)
            row[WNIDS.index(name.split("_")[0])] += np.exp(cosine / 0.1)
    return shares(votes, truth)


def evaluate(place: Path, file: str | Path, *options: str, code: int = 0, **variables: str) -> dict:
    """What ``paws evaluate card.yaml --suncet-checkpoint FILE`` prints as JSON."""
    arguments = ["evaluate", "card.yaml", "--suncet-checkpoint", file, "--arch", "wide_resnet28w2", "--json", *options]
    out, err = finish(paws(*arguments, cwd=place, **variables), code=code)
    if code:
        assert not out and "Traceback" not in err
        return {"error": err}
    return json.loads(out)


def assert_figures(found: dict, wanted: dict) -> None:
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert found["test_images"] == 3 * CLASSES


@pytest.mark.parametrize("kind", ["pre-trained", "with a prediction head", "of a process group", "resumable", "fine-tuned"])
def test_every_kind_of_checkpoint_is_evaluated_from_the_command_line(kind, place, tmp_path):
    pred, path = kind == "with a prediction head", tmp_path / "a.pth.tar"
    if kind == "fine-tuned":
        network = trained(build_classifier("wide_resnet28w2", CLASSES, seed=5))
    else:
        network = trained(build_encoder("wide_resnet28w2", output_dim=64, prediction_head=pred, seed=5))
    if kind == "resumable":
        momentum = {0: {"momentum_buffer": torch.ones(3)}}
        write_checkpoint(path, network, opt={"state": momentum, "param_groups": [{"lr": 0.1, "params": [0]}]}, epoch=3, amp={})
    else:
        write_checkpoint(path, network)
    if kind == "of a process group":
        weights = torch.load(path, weights_only=True)["encoder"]
        torch.save({"encoder": {f"module.{name}": value for name, value in weights.items()}, "world_size": 64}, path)
    found = evaluate(place, path, "--output-dim", "64", *(["--pred-head"] if pred else []))
    assert_figures(found, expected(network, place, by_classifier=kind == "fine-tuned"))
    assert 0.15 < found["top1"] <= 1 or kind == "fine-tuned"  # better than chance, so that a mistake would show


def test_what_does_not_fit_is_refused_unless_partial(place, tmp_path):
    path = tmp_path / "a.pth.tar"
    write_checkpoint(path, trained(build_encoder("wide_resnet28w2", output_dim=64, seed=5)))
    err = evaluate(place, path, code=2)["error"]  # the card's network gives 128
    assert "head.fc3.weight is (64, 128), the network has (128, 128)" in err
    assert "missing prediction_head.fc1.weight" in evaluate(place, path, "--output-dim", "64", "--pred-head", code=2)["error"]
    err = finish(paws("evaluate", "card.yaml", "--suncet-checkpoint", path, "--arch", "resnet50", cwd=place), code=2)[1]
    assert "missing backbone.layer1.0.conv3.weight" in err and "surplus backbone." in err
    found = evaluate(place, path, "--allow-partial")
    assert found["left_random"] == 2 and 0 <= found["top1"] <= 1
    torch.save({"encoder": {"conv1.weight": _Code()}}, path)
    assert "refused, it holds code" in evaluate(place, path, code=2)["error"]
    assert not (place / "code-ran").exists()
    err = evaluate(place, "paws_imgnt_5percent_100ep", code=2)["error"]
    assert "no such file, and not one of the published checkpoints paws_imgnt_1percent_100ep" in err


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_published_name_is_downloaded_once_recorded_and_evaluated(place, tmp_path, monkeypatch):
    name = "paws_imgnt_1percent_100ep"
    (tmp_path / "server").mkdir()
    network = trained(build_encoder("wide_resnet28w2", output_dim=64, seed=5))
    write_checkpoint(tmp_path / "server" / f"{name}.pth.tar", network)
    content = (tmp_path / "server" / f"{name}.pth.tar").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "server"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(checkpoints, "ADDRESS", f"http://127.0.0.1:{server.server_port}")
        cache = tmp_path / "home/.cache/paws"
        assert fetch(name, cache).read_bytes() == content
        server.shutdown()
        thread.join()
    assert hashlib.sha256(content).hexdigest() in (cache / f"{name}.pth.tar.sha256").read_text()
    found = evaluate(place, name, "--output-dim", "64", HOME=str(tmp_path / "home"))  # from the cache: no server any more
    assert_figures(found, {**expected(network, place, by_classifier=False), "published_top1": 0.615})
    write_checkpoint(cache / f"{name}.pth.tar", trained(build_encoder("wide_resnet28w2", output_dim=64, seed=6)))
    err = evaluate(place, name, "--output-dim", "64", code=2, HOME=str(tmp_path / "home"))["error"]
    assert "recorded another one at the first download" in err
