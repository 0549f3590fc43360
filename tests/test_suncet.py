"""The published code's configs become cards that validate, its checkpoints load bit for bit, mistakes are named."""

import copy
import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from paws.cards import from_mapping, load_config
from paws.cli import app
from paws.errors import InputError
from paws.models import build_classifier, build_encoder
from paws.suncet import (
    PUBLISHED,
    card_text,
    convert_config,
    evaluate_checkpoint,
    fetch,
    is_suncet_config,
    load_card,
    read_checkpoint,
    write_checkpoint,
)
from paws.weights import assign, load_weights

KEYS = json.loads((Path(__file__).parent / "golden/f_model_keys.json").read_text())
META = "meta: {copy_data: true, device: 'cuda:0', load_checkpoint: false, read_checkpoint: null, use_fp16: true, "
LOGGING = "logging: {folder: logs/, write_tag: "
CIFAR = "root_path: datasets/, image_folder: cifar10-data/, subset_path: cifar10_subsets/, data_seed: 152, unlabeled_frac: 0.92"
IMAGENET = "root_path: datasets/, image_folder: imagenet_full_size/061417/, subset_path: imagenet_subsets, unlabeled_frac: 0.9"

OLD = {
    "paws_cifar10": f"""
criterion: {{classes_per_batch: 10, supervised_imgs_per_class: 64, supervised_views: 2, unsupervised_batch_size: 256,
  temperature: 0.1, sharpen: 0.25, me_max: true}}
data: {{color_jitter_strength: 0.5, dataset: cifar10, label_smoothing: 0.1, multicrop: 6, normalize: true,
  unique_classes_per_rank: false, {CIFAR}}}
{META} model_name: wide_resnet28w2, output_dim: 128, use_pred_head: false}}
optimization: {{epochs: 600, warmup: 10, start_lr: 0.8, lr: 3.2, final_lr: 0.032, momentum: 0.9, nesterov: false,
  weight_decay: 1.0e-6}}
{LOGGING} paws}}
""",
    "paws_imagenet": f"""
criterion: {{classes_per_batch: 15, supervised_imgs_per_class: 7, supervised_views: 1, unsupervised_batch_size: 64,
  temperature: 0.1, sharpen: 0.25, me_max: true}}
data: {{color_jitter_strength: 1.0, data_seed: null, dataset: imagenet, label_smoothing: 0.1, multicrop: 6,
  normalize: true, unique_classes_per_rank: true, {IMAGENET}}}
{META} model_name: resnet50, output_dim: 2048, use_pred_head: true}}
optimization: {{epochs: 100, warmup: 10, start_lr: 0.3, lr: 6.4, final_lr: 0.064, momentum: 0.9, nesterov: false,
  weight_decay: 1.0e-6}}
{LOGGING} paws}}
""",
    "suncet_imagenet": f"""
criterion: {{classes_per_batch: 20, supervised_imgs_per_class: 2, supervised_views: 1, unsupervised_batch_size: 44,
  temperature: 0.1, supervised_epochs: 100}}
data: {{color_jitter_strength: 1.0, dataset: imagenet, label_smoothing: 0.0, normalize: true,
  unique_classes_per_rank: false, {IMAGENET}}}
{META} model_name: resnet50, output_dim: 2048, use_pred_head: false}}
optimization: {{epochs: 100, warmup: 10, start_lr: 0.6, lr: 4.8, final_lr: 0.048, momentum: 0.9, nesterov: false,
  weight_decay: 1.0e-6}}
{LOGGING} suncet-tmp}}
""",
    "fine_tune_imagenet": f"""
data: {{data_seed: 152, dataset: imagenet_fine_tune, normalize: true, num_classes: 1000, {IMAGENET}}}
meta: {{copy_data: true, device: 'cuda:0', load_checkpoint: false, master_port: 4029, model_name: resnet50, training: true,
  use_fp16: true}}
optimization: {{epochs: 50, lr: 0.02, use_lars: false, weight_decay: 0.0, zero_init: true}}
{LOGGING} paws-latest, pretrain_path: paws-latest.pth.tar}}
""",
    "snn_fine_tune_cifar10": f"""
criterion: {{classes_per_batch: 10, supervised_views: 2, supervised_batch_size: 64, temperature: 0.1}}
data: {{dataset: cifar10_fine_tune, label_smoothing: 0.0, normalize: true, unique_classes_per_rank: false, {CIFAR}}}
{META} model_name: wide_resnet28w2, output_dim: 128, use_pred_head: false}}
optimization: {{epochs: 30, final_lr: 0.01, lr: 0.1, start_lr: 0.1, momentum: 0.9, nesterov: false, use_lars: true, warmup: 0,
  weight_decay: 0}}
{LOGGING} paws-latest-SNN, pretrain_path: paws-latest.pth.tar}}
""",
}
RECIPE = dict(zip(OLD, ["paws", "paws", "simclr_ct", "finetune", "snn_finetune"], strict=True))
CARDS = {  # cards of ours that were written by hand from the same table
    "paws_cifar10": "cifar10_paws",
    "paws_imagenet": "imagenet_paws",
    "suncet_imagenet": "imagenet_simclr_ct",
    "fine_tune_imagenet": "imagenet_finetune",
    "snn_fine_tune_cifar10": "cifar10_snn_finetune",
}


def old(name: str) -> dict:
    return yaml.safe_load(OLD[name])


@pytest.mark.parametrize("name", OLD)
def test_published_configs_validate_and_every_key_is_mapped_or_named(name):
    values, notes = convert_config(old(name))
    config = from_mapping(values)
    assert config.recipe.name == RECIPE[name]
    base = values
    for section, keys in old(name).items():
        for key, value in keys.items():
            changed = copy.deepcopy(old(name))
            if isinstance(value, bool):
                changed[section][key] = not value
            elif isinstance(value, int | float):
                changed[section][key] = value + 1 if section != "data" or value >= 1 else value + 0.05
            elif isinstance(value, str) and key not in ("dataset", "device"):
                changed[section][key] = f"other{value}"
            elif key in ("device", "read_checkpoint", "data_seed"):
                changed[section][key] = "cuda:1"
            if key in ("dataset", "normalize"):
                continue  # other values are errors, below
            again, other_notes = convert_config(changed)
            assert again != base or other_notes != notes or any(f"{section}.{key}" in note for note in notes), key


@pytest.mark.parametrize("name", OLD)
def test_converted_configs_equal_the_cards_where_both_speak(name):
    ours = load_config(Path(__file__).parents[1] / f"configs/{CARDS[name]}.yaml")
    converted = from_mapping(convert_config(old(name))[0])
    assert converted.recipe == ours.recipe
    assert converted.support == ours.support
    assert converted.optim.model_copy(update={"groups": "module"}) == ours.optim
    assert converted.machine.precision == "fp16"
    for field in ("name", "output_dim", "prediction_head"):
        assert getattr(converted.model, field) == getattr(ours.model, field)
    if RECIPE[name] in ("paws", "simclr_ct"):
        assert converted.views == ours.views


def test_label_files_follow_the_published_names():
    assert convert_config(old("paws_cifar10"))[0]["data"]["labels"] == {"file": "cifar10_subsets/spc.4000_split.152.txt"}
    for fraction, file in ((0.9, "90percent.txt"), (0.99, "99percent.txt"), (0.29, "29percent.txt"), (-1, "val.txt")):
        values = old("paws_imagenet")
        values["data"]["unlabeled_frac"] = fraction
        assert convert_config(values)[0]["data"]["labels"]["file"] == f"imagenet_subsets/{file}"
    values = old("paws_cifar10")
    values["data"]["unlabeled_frac"] = 0.98
    converted, notes = convert_config(values)
    assert converted["data"]["labels"] == {"fraction": 0.02, "seed": 152}
    assert any("published code would use all" in note for note in notes)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("data", "multi_crop", 6, "unknown key data.multi_crop; did you mean data.multicrop"),
        ("extra", "key", 1, "unknown section extra"),
        ("data", "dataset", "mnist", "data.dataset: 'mnist' is not one of cifar10, imagenet"),
        ("data", "normalize", False, "data.normalize: images are always normalised"),
        ("optimization", "lr", "fast", "optimization.lr: expected a number"),
    ],
)
def test_what_cannot_be_converted_is_named(section, key, value, message):
    values = old("paws_cifar10")
    values.setdefault(section, {})[key] = value
    with pytest.raises(InputError, match=message):
        convert_config(values)


def test_missing_keys_and_wrong_recipes_are_named():
    values = old("paws_cifar10")
    del values["optimization"]["final_lr"]
    with pytest.raises(InputError, match=r"optimization.final_lr is missing"):
        convert_config(values)
    with pytest.raises(InputError, match="recipe 'paw' is not one of paws_train"):
        convert_config(old("paws_cifar10"), "paw")
    assert convert_config(old("fine_tune_imagenet"), "fine_tune") == convert_config(old("fine_tune_imagenet"))


def test_our_cards_are_not_taken_for_published_ones():
    for card in (Path(__file__).parents[1] / "configs").glob("*.yaml"):
        assert not is_suncet_config(yaml.safe_load(card.read_text()))
        assert load_card(card) == (load_config(card), [])
    assert all(is_suncet_config(old(name)) for name in OLD)


def cifar_of_noise(folder: Path) -> None:
    """CIFAR-10 in its layout with 8 images per batch file, and a split file with two labels per class."""
    import pickle

    import numpy as np

    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        labels = [(8 * number + i) % 10 for i in range(8)]
        data = draw.integers(0, 256, (8, 3072), dtype=np.uint8)
        (batches / name).write_bytes(pickle.dumps({b"data": data, b"labels": labels}, protocol=2))
    (batches / "batches.meta").write_bytes(pickle.dumps({b"label_names": [f"c{i}".encode() for i in range(10)]}, protocol=2))
    (folder / "spc.4000_split.152.txt").write_text("".join(f"{i}\n" for i in range(20)))


def run_paws(*arguments: str, error: str = "") -> str:
    """What the command line prints; it must fail with the InputError ``error`` if there is one."""
    done = CliRunner().invoke(app, list(arguments))
    if error:
        assert isinstance(done.exception, InputError) and error in str(done.exception)
    else:
        assert done.exit_code == 0, done.output
    return done.output


def test_an_old_config_trains_and_its_checkpoint_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cifar_of_noise(tmp_path / "data")
    text = OLD["paws_cifar10"].replace("datasets/", "data").replace("cifar10-data/", "'.'").replace("cifar10_subsets/", "data")
    (tmp_path / "old.yaml").write_text(text)
    small = [
        "optim.epochs=1",
        "optim.batch_size=8",
        "optim.steps_per_epoch=1",
        "support.images_per_class=1",
        "views.small=1",
        "machine.precision=fp32",
    ]
    said = run_paws("train", "old.yaml", *small)
    assert "meta.copy_data=True: data.stage_to=FOLDER" in said and "top1" in said
    encoder = build_encoder("wide_resnet28w2", output_dim=128)
    load_weights(encoder, tmp_path / "logs/paws")
    write_checkpoint(tmp_path / "mine.pth.tar", encoder, epoch=1)
    config, _ = load_card(tmp_path / "old.yaml", [f"data.root={tmp_path}/data"])
    labels = config.data.labels.model_copy(update={"file": tmp_path / "data/spc.4000_split.152.txt"})
    config = config.model_copy(update={"data": config.data.model_copy(update={"labels": labels})})
    figures = evaluate_checkpoint(str(tmp_path / "mine.pth.tar"), config)
    result = json.loads((tmp_path / "logs/paws/summary.json").read_text())
    assert figures["top1"] == result["top1"]
    told = run_paws("evaluate", "old.yaml", "--suncet-checkpoint", "mine.pth.tar", "--no-pred-head", "--json")
    assert json.loads(told.splitlines()[-1]) == figures
    classifier = build_classifier("wide_resnet28w2", 10)
    write_checkpoint(tmp_path / "tuned.pth.tar", classifier)
    assert "top1" in evaluate_checkpoint(str(tmp_path / "tuned.pth.tar"), config)


def test_convert_writes_a_card_and_never_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.yaml").write_text(OLD["fine_tune_imagenet"])
    run_paws("convert", "old.yaml", "-o", "new.yaml")
    card = (tmp_path / "new.yaml").read_text()
    assert "# meta.master_port=4029: the launcher chooses the port" in card
    assert load_config(tmp_path / "new.yaml") == load_card(tmp_path / "old.yaml")[0]
    assert card == card_text(*convert_config(old("fine_tune_imagenet")), tmp_path / "old.yaml")
    run_paws("convert", "old.yaml", "-o", "new.yaml", error="new.yaml: exists already")
    run_paws("convert", "new.yaml", "-o", "n.yaml", error="is no config of the published code")
    assert (tmp_path / "new.yaml").read_text() == card and not (tmp_path / "n.yaml").exists()


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
    assert len(figures) == 8
    assert figures["paws_imgnt_1percent_300ep"] == 64.2 and figures["paws_imgnt_10percent_300ep_finetuned"] == 75.5
    assert PUBLISHED["paws_imgnt_10percent_100ep"].url == (
        "https://dl.fbaipublicfiles.com/paws/paws_imgnt_10percent_100ep.pth.tar"
    )
    (tmp_path / "paws_imgnt_1percent_100ep.pth.tar").write_bytes(b"cached")
    assert fetch("paws_imgnt_1percent_100ep", tmp_path).read_bytes() == b"cached"
    with pytest.raises(InputError, match="not one of the published checkpoints paws_imgnt_1percent_100ep"):
        fetch("paws_imgnt_5percent", tmp_path)


def test_a_config_that_asks_for_an_evaluation_is_not_trained(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(OLD["fine_tune_imagenet"].replace("training: true", "training: false"))
    with pytest.raises(InputError, match=r"old.yaml: meta.training=false asks for an evaluation"):
        load_card(path, to_train=True)
    assert load_card(path)[0].recipe.name == "finetune"
