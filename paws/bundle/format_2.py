"""Classifiers as bundles of format 2 hold them, made into those of today."""

from __future__ import annotations

from typing import Any

from torch import Tensor

NAMES = {"linear": "logistic_regression", "nearest": "nearest_neighbours", "spread": "label_spreading"}  # of rules
TENSORS = {"rule.spread": "predictor.distributions"}  # that have another name


def convert(config: dict[str, Any], state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of a classifier of format 2 -> those that `Classifier.from_config` and its state dict take."""
    rule = dict(config["rule"])
    kind = rule.pop("name")
    if kind == "soft vote":
        kind = "paws" if rule["heads"] else "soft_nearest_neighbours"
        if not rule["heads"]:
            rule = {"temperature": rule["temperature"]}
    rule.pop("classes", None)
    predictor = {"name": NAMES.get(kind, kind), **rule, "num_classes": len(config["classes"])}
    new = {"classes": config["classes"], "support": config["support"], "predictor": predictor}
    return new, {TENSORS.get(name, name.replace("rule.", "predictor.", 1)): value for name, value in state.items()}
