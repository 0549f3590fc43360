"""The published code's configs become cards that validate; mistakes in them are named."""

import copy
from pathlib import Path

import pytest
import torch
import yaml

import paws.methods
from paws.config.cards import from_mapping, load_config
from paws.errors import InputError
from paws.suncet import card_text, convert_config, is_suncet_config, load_card
from tests.digits_runs import finish, paws
from tests.suncet.configs import OLD, old

RECIPE = dict(zip(OLD, ["paws", "paws", "simclr_ct", "finetune", "snn_finetune"], strict=True))
CARDS = {  # cards of ours that were written by hand from the same table
    "paws_cifar10": "cifar10_paws",
    "paws_imagenet": "imagenet_paws",
    "suncet_imagenet": "imagenet_simclr_ct",
    "fine_tune_imagenet": "imagenet_finetune",
    "snn_fine_tune_cifar10": "cifar10_snn_finetune",
}


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
    ours = load_config(Path(__file__).parents[2] / f"configs/{CARDS[name]}.yaml")
    converted = from_mapping(convert_config(old(name))[0])
    assert converted.recipe == ours.recipe
    assert converted.support == ours.support
    assert converted.optim.model_copy(update={"groups": "module"}) == ours.optim
    assert converted.machine.precision == "fp16"
    for field in ("name", "output_dim", "prediction_head"):
        assert getattr(converted.model, field) == getattr(ours.model, field)
    if RECIPE[name] in ("paws", "simclr_ct"):
        assert converted.views == ours.views


def test_ropaws_is_a_section_of_its_own_that_may_be_off():
    section = {"use_ropaws": True, "prior_tau": 0.1, "prior_pow": 1.0, "label_ratio": 5.0}
    card = load_config(Path(__file__).parents[2] / "configs/cifar10_ropaws.yaml")
    assert from_mapping(convert_config({**old("paws_cifar10"), "ropaws": section})[0]).recipe == card.recipe
    values, notes = convert_config({**old("paws_cifar10"), "ropaws": {**section, "use_ropaws": False}})
    assert values["recipe"]["name"] == "paws" and any("ropaws.prior_tau=0.1" in note for note in notes)
    with pytest.raises(InputError, match=r"did you mean ropaws\.prior_tau\?"):
        convert_config({**old("paws_cifar10"), "ropaws": {"prior_taus": 1.0}})


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
    for card in (Path(__file__).parents[2] / "configs").glob("*.yaml"):
        assert not is_suncet_config(yaml.safe_load(card.read_text()))
        assert load_card(card) == (load_config(card), [])
    assert all(is_suncet_config(old(name)) for name in OLD)


def test_convert_writes_a_card_and_never_overwrites(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD["fine_tune_imagenet"])
    finish(paws("convert", "old.yaml", "-o", "new.yaml", cwd=tmp_path))
    card = (tmp_path / "new.yaml").read_text()
    assert "# meta.master_port=4029: the launcher chooses the port" in card and "precision: fp16" in card
    assert load_config(tmp_path / "new.yaml") == load_card(tmp_path / "old.yaml")[0]
    assert card == card_text(*convert_config(old("fine_tune_imagenet")), tmp_path / "old.yaml")
    for source, target, message in (
        ("old", "new", "new.yaml: exists already"),
        ("new", "n", "is no config of the published code"),
    ):
        _, err = finish(paws("convert", f"{source}.yaml", "-o", f"{target}.yaml", cwd=tmp_path), code=2)
        assert message in err
    assert (tmp_path / "new.yaml").read_text() == card and not (tmp_path / "n.yaml").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_fp16_becomes_fp32_without_a_gpu_unless_it_is_asked_for(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD["paws_cifar10"])
    out, err = finish(paws("train", "old.yaml", cwd=tmp_path), code=2)  # there is no data
    assert "meta.use_fp16=True: there is no GPU here, so machine.precision=fp32" in out and "no such folder" in err
    _, err = finish(paws("train", "old.yaml", "machine.precision=fp16", cwd=tmp_path), code=2)
    assert "machine.precision=fp16 needs a GPU" in err
    (tmp_path / "old.yaml").write_text(OLD["paws_cifar10"].replace("use_fp16: true", "use_fp16: false"))
    out, _ = finish(paws("train", "old.yaml", cwd=tmp_path), code=2)
    assert "use_fp16" not in out


def test_a_config_that_asks_for_an_evaluation_is_not_trained(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(OLD["fine_tune_imagenet"].replace("training: true", "training: false"))
    with pytest.raises(InputError, match=r"old.yaml: meta.training=false asks for an evaluation"):
        load_card(path, to_train=True)
    assert load_card(path)[0].recipe.name == "finetune"
