"""The five configs of the published code run through ``paws train`` on a CPU after only their paths are changed.

Overrides shrink the number of epochs, batches and images; the networks, recipes and data formats are the published ones.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from paws.config.cards import load_config
from paws.models import build_encoder
from paws.models.weights import load_weights
from paws.suncet import write_checkpoint
from tests.digits_runs import finish, paws
from tests.images import WNIDS, cifar10_folder, imagenet_folder
from tests.suncet.configs import OLD

SMALL = {
    "paws_cifar10": ["optim.batch_size=50", "support.images_per_class=2"],
    "snn_fine_tune_cifar10": ["support.images_per_class=2"],
    "paws_imagenet": ["optim.batch_size=40", "support.images_per_class=1", "views.size=32", "views.small_size=16"],
    "suncet_imagenet": ["optim.batch_size=40", "views.size=32"],
    "fine_tune_imagenet": ["optim.batch_size=20", "views.size=32"],
}
RUN = {"snn_fine_tune_cifar10": "paws-latest-SNN-fine-tune-SNN", "fine_tune_imagenet": "paws-latest-fine-tune"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """CIFAR-10 and ImageNet in their layouts, small, with the published kinds of split files, and a folder for logs."""
    place = tmp_path_factory.mktemp("published")
    cifar10_folder(place / "datasets/cifar10-data")
    imagenet_folder(place / "datasets/imagenet", train=4, val=1, classes=20)
    (place / "subsets").mkdir()
    (place / "subsets/spc.4000_split.152.txt").write_text("".join(f"{i}\n" for i in range(20)))
    for file, numbers in (("90percent.txt", (2, 0)), ("val.txt", (3,))):
        lines = (f"{wnid}_{i}.JPEG\n" for i in numbers for wnid in WNIDS)
        (place / "subsets" / file).write_text("".join(lines))
    return place


def run_old(name: str, place: Path) -> tuple[Path, str, dict]:
    """Run an old config with only its paths changed: the run folder, what was said, the result."""
    text = OLD[name].replace("imagenet_full_size/061417/", "imagenet")
    text = text.replace("cifar10_subsets/", "subsets").replace("imagenet_subsets", "subsets")
    (place / f"{name}.yaml").write_text(text)
    said, _ = finish(paws("train", f"{name}.yaml", "optim.epochs=1", *SMALL[name], cwd=place))
    folder = place / "logs" / RUN.get(name, "suncet-tmp" if name == "suncet_imagenet" else "paws")
    return folder, said, json.loads((folder / "summary.json").read_text())


def as_published(run: Path, path: Path) -> None:
    """The weights of a run in the file that the published code would have left, resumable."""
    model = load_config(run / "config.yaml").model
    encoder = build_encoder(model.name, output_dim=model.output_dim, prediction_head=model.prediction_head)
    load_weights(encoder, run)
    write_checkpoint(path, encoder, opt={"state": {}, "param_groups": []}, epoch=1, unlabel_prob=0.9, amp=None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("paws_cifar10", "snn_fine_tune_cifar10"),
        pytest.param("paws_imagenet", "fine_tune_imagenet", marks=pytest.mark.slow),  # a ResNet-50 and its files
    ],
)
def test_pre_training_and_fine_tuning(first, second, place):
    run, said, result = run_old(first, place)
    for note in ("data.stage_to=FOLDER copies", "there is no GPU here, so machine.precision=fp32", "--resume"):
        assert note in said or torch.cuda.is_available()
    assert result["recipe"] == "paws" and result["labelled_images"] == (20 if "cifar" in first else 40)
    as_published(run, place / "logs/paws-latest.pth.tar")
    shutil.rmtree(run)  # hundreds of megabytes
    tuned, _, result = run_old(second, place)
    assert result["recipe"] == ("snn_finetune" if "cifar" in second else "finetune")
    assert 0 <= result["top1" if "cifar" in second else "validation_top1"] <= 1
    said, _ = finish(paws("evaluate", str(tuned.relative_to(place)), "--json", cwd=place))
    assert json.loads(said).items() <= {**result, "step": json.loads(said)["step"]}.items()
    shutil.rmtree(tuned)


@pytest.mark.slow
def test_simclr_ct(place):
    run, _, result = run_old("suncet_imagenet", place)
    assert result["recipe"] == "simclr_ct" and result["labelled_images"] == 40 and result["test_images"] == 20
    shutil.rmtree(run)
