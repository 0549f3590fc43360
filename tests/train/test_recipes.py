"""Runs on digits: what they refuse, where they stop, which weights they keep."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paws.config.cards import load_config
from paws.errors import InputError
from paws.runs.checkpoint import CheckpointFolder
from paws.runs.log import read_metrics
from paws.train import evaluate, train

CARD = Path(__file__).parents[2] / "configs/digits.yaml"
TINY = ["optim.epochs=2", "optim.steps_per_epoch=3", "optim.batch_size=16", "support.images_per_class=2", "log.every_steps=2"]


def tiny(folder: Path, recipe: str = "paws", *more: str):
    values = [*TINY, f"run_dir={folder}", f"recipe={{name: {recipe}, temperature: 0.1}}", *more]
    if recipe == "finetune":
        values[-1 - len(more)] = "recipe={name: finetune}"
    if recipe in ("paws", "simclr_ct"):
        values.append("views.small=1" if recipe == "paws" else "support.views=2")
    return load_config(CARD, values)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = CheckpointFolder(folder / "checkpoints").load_latest()
    assert state is not None
    return state["model"]


def rows(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in read_metrics(folder)]


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path):
    config = tiny(tmp_path)
    train(config, quiet=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="already holds a run: --resume"):
        train(config, quiet=True)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"optim.lr: 0.003 then, 0.5 now"):
        train(tiny(tmp_path, "paws", "optim.lr=0.5"), resume=True, quiet=True)
    train(tiny(tmp_path, "paws", "optim.lr=0.5"), overwrite=True, quiet=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("views.size=1", r"views\.size=1: model\.name=small_cnn or views\.preset=digits cannot take"),
        ("views={preset: imagenet, size: 6}", r"views\.size=6: .* most likely too small"),
        ("views={small: 2, small_size: 1}", r"views\.small_size=1: "),
        ("support.classes_per_batch=11", "classes_per_batch is 11"),
        ("data.dataset=digitz", "digitz"),
        ("data.dataset=cifar10", "data.root"),
        ("data.root=/no/such/folder", "/no/such/folder"),
        ("model.name=wide_resnet28w3", "wide_resnet28w3"),
        ("machine.device=cuda:0", "machine.device"),
        ("model.init_from=/no/such/run.pt", "run.pt"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(override, message, tmp_path):
    if override.startswith("machine") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=message):
        train(tiny(tmp_path / "run", "paws", override), quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lines", ["5000\n", "1\n1\n", "one\n", "", "0\n1\n2\n"])
def test_a_bad_split_file_is_named(lines, tmp_path):
    split = tmp_path / "split.txt"
    split.write_text(lines)
    with pytest.raises(InputError, match=r"split\.txt|class"):
        train(tiny(tmp_path / "run", "paws", "data.labels.per_class=null", f"data.labels.file={split}"), quiet=True)


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(tmp_path):
    from paws.runs.running_means import Diverged

    with pytest.raises(Diverged, match=r"step \d+ \(learning rate .*optim.lr"):
        train(tiny(tmp_path / "run", "paws", "optim.lr=1e30", "optim.name=sgd"), quiet=True)


def test_probe_trains_the_classifier_alone(tmp_path):
    train(tiny(tmp_path / "pre"), quiet=True)
    probe = tiny(
        tmp_path / "probe", "finetune", "recipe.probe=true", "recipe.classifier=backbone", f"model.init_from={tmp_path}/pre"
    )
    train(probe, quiet=True)
    before, after = weights(tmp_path / "pre"), weights(tmp_path / "probe")
    same = [name for name in after if name.startswith("backbone.") and torch.equal(before[name], after[name])]
    assert len(same) == sum(name.startswith("backbone.") for name in after)
    assert after["head.weight"].abs().sum() > 0


def test_validation_picks_the_best_weights(tmp_path):
    split = tmp_path / "validation.txt"
    split.write_text("".join(f"{i}\n" for i in range(500, 600)))
    result = train(tiny(tmp_path / "run", "finetune", f"data.validation={split}", "optim.epochs=3"), quiet=True)
    found = [row["validation_top1"] for row in read_metrics(tmp_path / "run") if row.get("evaluation") == "validation"]
    assert len(found) == 3 and result["validation_top1"] == max(found)
    assert evaluate(tmp_path / "run", best=True)["top1"] == result["top1"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_saves_the_state_and_the_run_goes_on_from_there(name, tmp_path):
    train(tiny(tmp_path / "whole"), quiet=True)
    code = (
        "import os, signal, sys; from paws.train import run; original = run.Run.update\n"
        "def update(self, *a, **k):\n original(self, *a, **k)\n"
        f" if self.step == 2: os.kill(os.getpid(), signal.{name})\n"
        "run.Run.update = update\nimport paws.cli; paws.cli.main()"
    )
    config = tiny(tmp_path / "run")
    (tmp_path / "card.yaml").write_text(config.to_yaml())
    command = [sys.executable, "-c", code, "train", str(tmp_path / "card.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 128 + getattr(signal, name), done.stderr
    assert "after step 3" in done.stdout and "--resume" in done.stdout
    train(config, resume=True, quiet=True)
    assert all(
        torch.equal(a, b) for a, b in zip(weights(tmp_path / "run").values(), weights(tmp_path / "whole").values(), strict=True)
    )
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_the_command_line_ends_with_exit_code_2_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "paws", "train", str(CARD), "optim.epoch=3", f"run_dir={tmp_path}/run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean optim.epochs?" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_devices_and_streams_that_the_user_chose_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    streams = sys.stdout, sys.stderr
    train(tiny(tmp_path / "new/folder", "paws", "machine.device=cpu"), quiet=True)  # the folders are made
    evaluate(tmp_path / "new/folder", ["machine.device=cpu"])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7" and (sys.stdout, sys.stderr) == streams
