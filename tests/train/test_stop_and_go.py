"""Every recipe on arrays and on image files: trains two epochs, is stopped and resumed, and its weights are evaluated."""

import json
import os
import signal
from pathlib import Path

import pytest

from paws.config.cards import load_config
from paws.config.schema import Config
from paws.errors import InputError
from paws.runs.checkpoint import load_latest
from paws.runs.signals import Interrupted
from paws.train import evaluate, train
from paws.train.run import Run
from tests.digits_runs import assert_same_run
from tests.images import imagenet_folder

ROOT = Path(__file__).parents[2]
SMALL = ["optim.epochs=2", "optim.steps_per_epoch=3", "optim.batch_size=8", "support.images_per_class=2", "log.every_steps=2"]
RECIPES = {
    "paws": ["recipe.name=paws", "views.small=1"],
    "simclr_ct": ["recipe.name=simclr_ct", "recipe.supervised_epochs=1", "support.views=2", "views.small=0"],
    "msn": ["recipe={name: msn, prototypes: 8, patches: 4}"],
    "snn_finetune": ["recipe.name=snn_finetune", "support.views=2"],
    "finetune": ["recipe.name=finetune"],
}
DATA = {"digits": ("configs/digits.yaml", 450), "folder": ("configs/imagenet_paws.yaml", 20)}


@pytest.fixture(scope="module", params=DATA)
def data(request, tmp_path_factory) -> tuple[str, Path]:
    """A kind of data, and a folder with what the recipes need: images, and a pre-trained run to start from."""
    folder = tmp_path_factory.mktemp(request.param)
    imagenet_folder(folder / "images")
    train(config(request.param, folder, "paws", folder / "pretrained"), quiet=True)
    return request.param, folder


def config(kind: str, folder: Path, recipe: str, run: Path) -> Config:
    changes = [*SMALL, *RECIPES[recipe], f"run_dir={run}"]
    if recipe.endswith("finetune"):
        changes.append(f"model.init_from={folder}/pretrained")
    if kind == "folder":
        changes += [f"data.root={folder}/images", "data.labels.fraction=0.3", "data.workers=0", "support.classes_per_batch=4"]
        changes += ["views.size=16", "views.small_size=8", "model={name: small_cnn, output_dim: 16, prediction_head: true}"]
        changes += [
            "optim.name=adamw",
            "optim.lr=1.0e-3",
            "optim.warmup_epochs=0",
            "optim.final_lr=0",
            "machine.precision=fp32",
            "machine.channels_last=false",
        ]
    # init_from after the model it belongs to
    return load_config(ROOT / DATA[kind][0], sorted(changes, key=lambda change: change.startswith("model.init_from")))


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to this process, as a cluster or Ctrl-C sends it, in the middle of that step."""
    update = Run.update

    def signalled(self, *arguments, **metrics):
        update(self, *arguments, **metrics)
        if self.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "update", signalled)


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_epochs_stopped_resumed_and_evaluated(data, recipe, tmp_path, monkeypatch):
    kind, folder = data
    whole = train(config(kind, folder, recipe, tmp_path / "whole"), quiet=True)
    assert whole["recipe"] == recipe and whole["test_images"] == DATA[kind][1]
    assert whole.items() <= json.loads((tmp_path / "whole/summary.json").read_text()).items()
    measured = evaluate(tmp_path / "whole")
    assert measured == {**measured, **{name: whole[name] for name in measured.keys() & whole.keys()}}

    settings = config(kind, folder, recipe, tmp_path / "parts")
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        with pytest.raises(Interrupted, match="SIGTERM after step 4"):
            train(settings, quiet=True)
    assert load_latest(tmp_path / "parts/checkpoints")["step"] == 4
    assert not (tmp_path / "parts/summary.json").exists()
    assert train(settings, resume=True, quiet=True) == whole
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    if recipe.endswith("finetune"):
        before, after = (load_latest(run / "checkpoints")["model"] for run in (folder / "pretrained", tmp_path / "whole"))
        moved = (after["head.fc1.weight"] - before["head.fc1.weight"]).norm()
        assert 0 < moved < before["head.fc1.weight"].norm() / 2  # it started from there


def test_simclr_ct_refuses_small_views(tmp_path):
    settings = load_config(ROOT / DATA["digits"][0], ["recipe.name=simclr_ct", "views.small=6", f"run_dir={tmp_path}/run"])
    with pytest.raises(InputError, match=r"views\.small=6: simclr_ct compares two large views; set views.small=0"):
        train(settings, quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", ["simclr_ct", "snn_finetune", "paws recipe.suncet=1", "ropaws recipe.suncet=1"])
def test_suncet_needs_two_views_of_a_class(recipe, tmp_path):
    changes = [*f"recipe.name={recipe}".split(), "support.images_per_class=1", f"run_dir={tmp_path}/run"]
    with pytest.raises(InputError, match="two are needed; raise one of them"):
        train(load_config(ROOT / DATA["digits"][0], changes), quiet=True)
    assert not (tmp_path / "run").exists()
