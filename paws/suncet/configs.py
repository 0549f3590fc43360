"""The configs of the published code (facebookresearch/suncet): made into cards of ours.

Where the published code does other than its config says, the config is followed and a note says so (docs/reference.md).
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from paws.config.cards import from_mapping, merge_overrides, read_yaml
from paws.config.schema import Config
from paws.config.threads import cores
from paws.errors import InputError

RECIPES = {"paws_train": "paws", "suncet_train": "simclr_ct", "fine_tune": "finetune", "snn_fine_tune": "snn_finetune"}
ELSEWHERE = "the published code reads this key in other recipes only"
MEANINGLESS = {
    "data.data_seed": "read for CIFAR-10 only",
    "data.num_classes": "the classes are those of the data",
    "meta.copy_data": "data.stage_to=FOLDER copies the data to storage of the node first",
    "meta.device": "machine.device=auto takes what is there; --devices N or torchrun start several processes",
    "meta.master_port": "the launcher chooses the port",
    "meta.load_checkpoint": "`paws train CARD --resume` goes on with the run in run_dir",
    "meta.read_checkpoint": "`paws train CARD --resume` goes on with the run in run_dir",
}
READ = {
    "criterion": "classes_per_batch me_max sharpen supervised_batch_size supervised_epochs supervised_imgs_per_class"
    " supervised_views temperature unsupervised_batch_size",
    "data": "color_jitter_strength dataset image_folder label_smoothing multicrop normalize root_path subset_path"
    " unique_classes_per_rank unlabeled_frac",
    "meta": "model_name output_dim training use_fp16 use_pred_head",
    "optimization": "epochs final_lr lr momentum nesterov start_lr use_lars warmup weight_decay zero_init",
    "logging": "folder pretrain_path write_tag",
    "ropaws": "use_ropaws prior_tau prior_pow label_ratio",
}
MOST = 1e6  # no number in such a config is as large
KNOWN = {*MEANINGLESS, *(f"{section}.{key}" for section, keys in READ.items() for key in keys.split())}


def is_suncet_config(values: dict[str, Any]) -> bool:
    """Whether a YAML file's ``values`` are a config of the published code: our cards have none of these sections."""
    return len({"criterion", "meta", "optimization", "logging"} & values.keys()) >= 2


def load_card(
    path: Path | None, overrides: list[str] | tuple[str, ...] = (), *, to_train: bool = False
) -> tuple[Config, list[str]]:
    """A config from a card of ours (``path`` None: the defaults) or of the published code, with notes on the latter.

    ``overrides`` are in our keys. ``to_train``: a published config that asks for an evaluation is an error.
    Raises InputError as ``paws.config.cards.load_config`` and ``convert_config`` do.
    """
    values: dict[str, Any] = read_yaml(path) if path else {}
    notes: list[str] = []
    if is_suncet_config(values):
        try:
            if to_train and isinstance(values.get("meta"), dict) and values["meta"].get("training") in ("False", "false"):
                raise InputError("meta.training=false asks for an evaluation: paws evaluate CARD --suncet-checkpoint FILE")
            values, notes = convert_config(read_yaml(path, numbers=True) if path else values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return from_mapping(merge_overrides(values, overrides), str(path) if path else "config", overrides), notes


def without_gpu(config: Config, notes: list[str], overrides: list[str] | tuple[str, ...] = ()) -> tuple[Config, list[str]]:
    """A converted config for a machine without a GPU: fp32, at most a worker per core, unless overridden."""
    named = {text.partition("=")[0] for text in overrides}
    available, machine, data, notes = cores(), config.machine, config.data, [*notes]
    if machine.precision == "fp16" and "machine.precision" not in named:
        machine = machine.model_copy(update={"precision": "fp32"})
        notes.append("meta.use_fp16=True: there is no GPU here, so machine.precision=fp32")
    if data.workers > available and "data.workers" not in named:
        data = data.model_copy(update={"workers": available})
        notes.append(f"data.workers={available}: 8 in the published code, here as many as there are available")
    return config.model_copy(update={"machine": machine, "data": data}), notes


def card_text(values: dict[str, Any], notes: list[str], source: Path) -> str:
    """A converted config as a YAML card, with the notes as comments."""
    header = [f"Converted from {source.name}, a config of the published code (facebookresearch/suncet).", *notes]
    return "".join(f"# {line}\n" for line in header) + OmegaConf.to_yaml(OmegaConf.create(values))


def recipe_of(values: dict[str, Any]) -> str:
    """Our name of the recipe that a published config is for, told by the keys of its criterion."""
    criterion = values.get("criterion") or {}
    if "supervised_epochs" in criterion:
        return "simclr_ct"
    if "supervised_batch_size" in criterion:
        return "snn_finetune"
    return "paws" if criterion else "finetune"


class _Old:
    """The values of a published config, and which of them were looked at."""

    def __init__(self, values: dict[str, Any]) -> None:
        if wrong := [name for name in READ if not isinstance(values.get(name, {}), dict)]:
            raise InputError(f"section {wrong[0]} must be a mapping")
        flat = {f"{name}.{key}": value for name in READ for key, value in values.get(name, {}).items()}
        faults = [f"unknown section {name}" for name in values if name not in READ]
        for key in flat.keys() - KNOWN:
            near = difflib.get_close_matches(key, KNOWN, 1)
            faults.append(f"unknown key {key}" + (f"; did you mean {near[0]}?" if near else ""))
        if faults:
            raise InputError("\n".join(sorted(faults)))
        self.flat, self.left = flat, dict(flat)

    def __call__(self, key: str) -> Any:
        """The value of a key, which must be there."""
        if key not in self.flat:
            raise InputError(f"key {key} is missing; the published code needs it")
        self.left.pop(key, None)
        return self.flat[key]

    def number(self, key: str) -> float:
        value = self(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST < value < MOST:
            raise InputError(f"{key}: expected a number (given: {value!r})")
        return value


def convert_config(values: dict[str, Any], recipe: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """Values of a card of ours from those of a published config, and notes on every key that has no meaning here.

    ``recipe`` is one of ours or of the published names (``paws_train`` ...); told by the keys when absent.

    Raises:
        InputError: an unknown, missing or impossible key or value, or an unknown recipe.
    """
    old = _Old(values)
    name = RECIPES.get(recipe, recipe) if recipe else recipe_of(values)
    if name not in RECIPES.values():
        raise InputError(f"recipe {recipe!r} is not one of {', '.join([*RECIPES, *RECIPES.values()])}")
    notes = [f"recipe: {name}"]
    data, folder = _data(old, name, notes), Path(str(old("logging.folder")))
    suffix = {"finetune": "-fine-tune", "snn_finetune": "-fine-tune-SNN"}.get(name, "")
    resnet = str(old("meta.model_name")).replace("resnet151", "resnet152")
    new: dict[str, Any] = {
        "run_dir": str(folder / f"{old('logging.write_tag')}{suffix}"),
        "recipe": _recipe(old, name),
        "data": data,
        "views": _views(old, name, data["dataset"] == "cifar10"),
        "model": {"name": resnet},
        "optim": _optim(old, name, notes),
        "machine": {"precision": "fp16" if old("meta.use_fp16") else "fp32"},
    }
    notes.append("logging.folder, logging.write_tag: run_dir is a folder for this run alone")
    if name == "finetune":
        cifar = resnet.startswith("wide")
        new["model"] |= {"output_dim": 128 if cifar else 2048, "prediction_head": not cifar}
        notes.append("model.output_dim, model.prediction_head: not in the published config; those of its pre-trained networks")
    else:
        new["model"] |= {"output_dim": old("meta.output_dim"), "prediction_head": old("meta.use_pred_head")}
        new["support"] = _support(old, name)
    if name in ("finetune", "snn_finetune"):
        new["model"]["init_from"] = str(folder / str(old("logging.pretrain_path")))
    elif old.flat.get("meta.load_checkpoint") and old.flat.get("meta.read_checkpoint"):
        new["model"]["init_from"] = str(folder / str(old("meta.read_checkpoint")))
        notes.append("meta.read_checkpoint: only the weights are taken from it, the optimiser and schedule start anew")
    if name in ("paws", "simclr_ct"):
        epochs = int(new["optim"]["epochs"])
        new["checkpoint"] = {"keep_epochs": [n for n in range(10, epochs + 1, 10) if n <= 50 or n % 50 == 0]}
    if name == "finetune" and not old("meta.training"):
        notes.append("meta.training=False: evaluate a fine-tuned file by `paws evaluate CARD --suncet-checkpoint FILE` instead")
    notes += [f"{key}={value}: {MEANINGLESS.get(key, ELSEWHERE)}" for key, value in old.left.items()]
    return new, notes


def _recipe(old: _Old, name: str) -> dict[str, Any]:
    if name == "finetune":
        return {"name": name, "classifier": "projection", "zero_init": old("optimization.zero_init")}
    recipe: dict[str, Any] = {"name": name, "temperature": old.number("criterion.temperature")}
    if name == "paws":
        recipe |= {"sharpening": old.number("criterion.sharpen"), "me_max": float(bool(old("criterion.me_max")))}
        if "ropaws.use_ropaws" not in old.flat or not old("ropaws.use_ropaws"):
            return recipe
        options = {"label_ratio": "label_ratio", "prior_temperature": "prior_tau", "prior_power": "prior_pow"}
        return {**recipe, "name": "ropaws", **{ours: old.number(f"ropaws.{theirs}") for ours, theirs in options.items()}}
    return {**recipe, "supervised_epochs": old("criterion.supervised_epochs")} if name == "simclr_ct" else recipe


def _data(old: _Old, name: str, notes: list[str]) -> dict[str, Any]:
    dataset = str(old("data.dataset")).removesuffix("_fine_tune")
    if dataset not in ("cifar10", "imagenet"):
        raise InputError(f"data.dataset: {dataset!r} is not one of cifar10, imagenet, or these with _fine_tune")
    if not old("data.normalize"):
        raise InputError("data.normalize: images are always normalised here; set it to true")
    subsets, fraction = Path(str(old("data.subset_path"))), old.number("data.unlabeled_frac")
    data: dict[str, Any] = {
        "dataset": "cifar10" if dataset == "cifar10" else "folder",
        "root": str(Path(str(old("data.root_path"))) / str(old("data.image_folder"))),
    }
    if dataset == "imagenet":
        file = "val.txt" if fraction < 0 else f"{round(fraction * 100)}percent.txt"
        data |= {"labels": {"file": str(subsets / file)}, "workers": 8}
        notes.append(f"data.unlabeled_frac={fraction}: labels of {file}; if it is missing, nothing is drawn instead")
        if name == "finetune":
            data["validation"] = str(subsets / "val.txt")
    elif fraction == 0.92:
        data["labels"] = {"file": str(subsets / f"spc.4000_split.{old('data.data_seed')}.txt")}
    else:
        data["labels"] = {"fraction": round(1 - max(fraction, 0), 6), "seed": old("data.data_seed")}
        notes.append(f"data.unlabeled_frac={fraction}: labels are drawn; the published code would use all of them")
    return data


def _views(old: _Old, name: str, cifar: bool) -> dict[str, Any]:
    views: dict[str, Any] = {"preset": "cifar", "size": 32} if cifar else {"preset": "imagenet", "size": 224}
    if name == "paws":
        small = old("data.multicrop")
        views |= {"scale": [(0.75 if small else 0.5) if cifar else (0.14 if small else 0.08), 1.0], "small": small}
        views |= {"small_size": 18, "small_scale": [0.3, 0.75]} if cifar else {"small_size": 96, "small_scale": [0.05, 0.14]}
    else:
        views["scale"] = [0.5 if cifar else 0.08, 1.0]
    if name in ("paws", "simclr_ct"):
        views["jitter"] = old.number("data.color_jitter_strength")
    return views


def _support(old: _Old, name: str) -> dict[str, Any]:
    images = "supervised_batch_size" if name == "snn_finetune" else "supervised_imgs_per_class"
    return {
        "classes_per_batch": old("criterion.classes_per_batch"),
        "images_per_class": old(f"criterion.{images}"),
        "views": old("criterion.supervised_views"),
        "unique_classes": old("data.unique_classes_per_rank"),
        "smoothing": old("data.label_smoothing"),
    }


def _optim(old: _Old, name: str, notes: list[str]) -> dict[str, Any]:
    lr = old.number("optimization.lr")
    optim: dict[str, Any] = {
        "epochs": old.number("optimization.epochs"),
        "lr": lr,
        "weight_decay": old.number("optimization.weight_decay"),
    }
    lars = name in ("paws", "simclr_ct") or bool(old("optimization.use_lars"))
    optim |= {"name": "lars" if lars else "sgd", "groups": "suncet"}
    notes.append("optim.groups=suncet: norm parameters are found by name as published; `module` finds all of them")
    if name == "finetune":
        notes.append("optim.batch_size=256, momentum 0.9 and nesterov: fixed in the published code")
        return {**optim, "start_lr": lr, "final_lr": 0.0, "momentum": 0.9, "nesterov": True, "batch_size": 256}
    momentum = old.number("optimization.momentum")
    if name != "snn_finetune":
        optim["batch_size"] = old("criterion.unsupervised_batch_size")
        if momentum != 0.9:
            notes.append(f"optimization.momentum={momentum}: taken at its word; the published code always used 0.9")
    return optim | {
        "start_lr": old.number("optimization.start_lr"),
        "final_lr": old.number("optimization.final_lr"),
        "warmup_epochs": old.number("optimization.warmup"),
        "momentum": momentum,
        "nesterov": old("optimization.nesterov"),
    }
