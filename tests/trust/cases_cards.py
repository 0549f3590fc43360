"""Cards and their overrides: how a value is read, and what is said of one that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import paws.methods  # noqa: F401  their settings are part of a card
from paws.config.cards import load_config
from tests.trust.case import Case


def value(key: str, *overrides: str) -> Callable[[Path], Any]:
    """What the key of ``card.yaml``, or of the defaults, is after these overrides."""

    def call(folder: Path) -> str:
        card = folder / "card.yaml"
        found: Any = load_config(card if card.is_file() else None, overrides)
        for part in key.split("."):
            found = getattr(found, part)
        return repr(found)

    return call


def card(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "card.yaml").write_text(text) and None


READ = {  # key, as it is written, what is read
    ("optim.epochs", "010"): "10",
    ("optim.epochs", "7"): "7",
    ("optim.epochs", "+7"): "7",
    ("optim.epochs", "1_000"): "1000",
    ("seed", "-3"): "-3",
    ("optim.lr", "010"): "10.0",
    ("optim.lr", "1e-3"): "0.001",
    ("optim.lr", "1."): "1.0",
    ("optim.lr", ".5"): "0.5",
    ("optim.lr", "0"): "0.0",
    ("optim.nesterov", "true"): "True",
    ("optim.nesterov", "on"): "True",
    ("optim.nesterov", "no"): "False",
    ("optim.nesterov", "False"): "False",
    ("run_dir", "2024"): "PosixPath('2024')",
    ("run_dir", "010"): "PosixPath('010')",
    ("run_dir", "12:30"): "PosixPath('12:30')",
    ("run_dir", "on"): "PosixPath('on')",
    ("run_dir", "1e3"): "PosixPath('1e3')",
    ("data.root", "null"): "None",
    ("data.root", "2024-01-01"): "PosixPath('2024-01-01')",
    ("model.name", "off"): "'off'",
    ("views.scale", "[0.1, 0.5]"): "(0.1, 0.5)",
    ("views.scale", "[1, 1]"): "(1.0, 1.0)",
}
WRONG = {  # key, as it is written, what the message says
    ("optim.epochs", "12:30"): "valid integer",
    ("optim.epochs", "0x10"): "valid integer",
    ("optim.epochs", "1.5"): "valid integer",
    ("optim.epochs", "true"): "valid integer",
    ("optim.epochs", "inf"): "valid integer",
    ("optim.epochs", "null"): "valid integer",
    ("optim.lr", "12:30"): "valid number",
    ("optim.lr", "1e400"): "finite number",
    ("optim.lr", ".inf"): "number",
    ("optim.lr", "inf"): "finite number",
    ("optim.lr", "nan"): "finite number",
    ("optim.lr", "-1"): "greater than or equal to 0",
    ("optim.lr", "1,5"): "valid number",
    ("optim.weight_decay", "infinity"): "finite number",
    ("recipe.temperature", "inf"): "finite number",
    ("recipe.me_max", "nan"): "finite number",
    ("machine.group_timeout", "inf"): "finite number",
    ("checkpoint.every_minutes", "nan"): "finite number",
    ("views.scale", "[0.5, 0.1]"): "goes from 0.5 down to 0.1",
    ("views.small_scale", "[1, 0.5]"): "goes from 1.0 down to 0.5",
    ("views.scale", "[0.5]"): "views.scale",
    ("views.scale", "[0.1, .inf]"): "views.scale",
    ("views.jitter", "inf"): "finite number",
    ("optim.nesterov", "maybe"): "boolean",
    ("optim.nesterov", "2"): "boolean",
    ("run_dir", "null"): "path",
    ("optim", "5"): "optim",
    ("optim.lr.x", "5"): "optim.lr",
    ("seed", "[1]"): "valid integer",
}
SECTION = "optim:\n  lr: {}\n"
CASES = [
    *(
        Case(f"override {key}={text}", value(key, f"{key}={text}"), code=0, says=(found,))
        for (key, text), found in READ.items()
    ),
    *(
        Case(f"override {key}={text}", value("seed", f"{key}={text}"), code=2, says=(f"override {key}={text}: ", found))
        for (key, text), found in WRONG.items()
    ),
    *(
        Case(f"card with lr: {text}", value("optim.lr"), card(SECTION.format(text)), 0, (found,))
        for text, found in (("010", "10.0"), ("'010'", "10.0"), ("1e-3", "0.001"), ("!!str 5", "5.0"), ("${seed}", "0.0"))
        if "$" not in text
    ),
    *(
        Case(f"card with lr: {text}", value("optim.lr"), card(SECTION.format(text)), 2, ("card.yaml: optim.lr", found))
        for text, found in (("12:30", "number"), (".inf", "number"), ("inf", "finite"), ("nan", "finite"), ("on", "number"))
    ),
    Case(
        "a fault of the card beside an override",
        value("seed", "seed=1"),
        card("optim:\n  lr: x\n"),
        2,
        ("card.yaml: optim.lr",),
        ("override",),
    ),
    Case(
        "a fault of an override beside a card",
        value("seed", "optim.lr=x"),
        card("seed: 1\n"),
        2,
        ("override optim.lr=x: ",),
        ("card.yaml",),
    ),
    Case("an override mends the card", value("optim.lr", "optim.lr=2"), card("optim:\n  lr: x\n"), 0, ("2.0",)),
    Case("one key twice in a card", value("seed"), card("seed: 1\nseed: 2\n"), 2, ("seed stands there twice",)),
    Case("one key twice in a section", value("seed"), card("optim:\n  lr: 1\n  lr: 2\n"), 2, ("lr stands there twice",)),
    Case("an empty card", value("seed"), card(""), 0, ("0",)),
    Case("a card of one word", value("seed"), card("digits\n"), 2, ("card.yaml",)),
    Case("a card that is a list", value("seed"), card("- seed\n"), 2, ("expected a mapping",)),
    Case("a card that is not YAML", value("seed"), card("a: [1\n"), 2, ("not valid YAML",)),
    Case("a card with code", value("seed"), card("seed: !!python/object/apply:os.getcwd []\n"), 2, ("not valid YAML",)),
    Case("a card with a tab", value("seed"), card("optim:\n\tlr: 1\n"), 2, ("not valid YAML",)),
    Case("an override without a value", value("seed", "seed"), code=2, says=("write dotted.key=value",)),
    Case("an override without a key", value("seed", "=1"), code=2, says=("write dotted.key=value",)),
    Case("an override that is not YAML", value("seed", "run_dir=[a"), code=2, says=("override run_dir=[a: ",)),
    Case(
        "an unknown override", value("seed", "sede=1"), code=2, says=("override sede=1: unknown key sede; did you mean seed?",)
    ),
    Case(
        "resume and overwrite at once",
        ("train", "card.yaml", "--resume", "--overwrite"),
        card("run_dir: run\n"),
        2,
        ("either --resume",),
    ),
]
