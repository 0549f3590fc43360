"""The options of a fit: name, type, default, bounds and help, read by the verb, by `paws.fit` and by the estimator."""

from __future__ import annotations

import difflib
import os
import reprlib
import unicodedata
from collections.abc import Callable, Mapping, Set
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from paws.config.fields import bounds
from paws.errors import InputError


def _prior(value: Any) -> Any:
    """Class frequencies from text such as "0.7,0.3" or from any sequence of numbers; words are left as they are."""
    if value is None:
        return "estimate"
    try:
        if not isinstance(value, Mapping | Set):  # whose order is not that of the classes
            return tuple(float(part) for part in (value.split(",") if isinstance(value, str) else value))
    except (ValueError, TypeError):
        if isinstance(value, str):
            return value
    raise ValueError("expected a word, or a list of numbers, one for each class in the order of their names")


def _composed(value: str | None) -> str | None:
    """As labels are: letters and their accents are one character (NFC)."""
    return None if value is None else unicodedata.normalize("NFC", value)


def _path(value: Any) -> Any:
    """A path as text; anything else is left to be refused."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _without_zeros(path: str) -> str:
    if "\0" in path:
        raise ValueError("no path holds a zero byte")
    return path


PREFERRED = "combination"  # the name of the predictor in use unless another one is asked for
PresetName = Literal["fast", "balanced", "best"]
Training = Literal["light", "full"]
FORMER = {"finetune": "train, light or full"}  # options that have another name now
File = Annotated[str, BeforeValidator(_path), AfterValidator(_without_zeros)]  # kept as it was given


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FitOptions:
    """What can be chosen of a fit. Where and how fast it runs (device, workers) is not among it."""

    preset: Annotated[
        PresetName | None,
        Field(description="fast, balanced or best: backbone, size and views; chosen from machine and folder if not given"),
    ] = None
    backbone: Annotated[
        str | None,
        Field(min_length=1, description="timm model that embeds the images, or several with commas; the preset's if not given"),
    ] = None
    weights: Annotated[File | None, Field(description="file of the weights of that backbone")] = None
    image_size: Annotated[
        int | None,
        Field(ge=16, le=2048, description="pixels; the preset's, or those of a given backbone, at most 224, if not given"),
    ] = None
    views: Annotated[
        int | None, Field(ge=0, description="random views of each image beside the plain one; the preset's if not given")
    ] = None
    mirror: Annotated[bool, Field(description="mirror half of the views; not where left and right matter")] = True
    test: Annotated[File | None, Field(description="labels of further images of the folder, to report on")] = None
    accuracy: Annotated[
        float, Field(gt=0, le=1, description="share of right predictions among those that are not marked abstain")
    ] = 0.95
    model: Annotated[
        str, Field(description="auto (the combination of methods, weighted by held-out labels), or a method's name")
    ] = "auto"
    prior: Annotated[
        str | tuple[float, ...],
        BeforeValidator(_prior),
        Field(description="class frequencies: estimate, uniform, labels (as among the labels), or one number a class"),
    ] = "estimate"
    none_class: Annotated[
        str | None,
        AfterValidator(_composed),
        Field(description="the label of images that belong to no other class, where some are labelled so"),
    ] = None
    steps: Annotated[
        int | None,
        Field(ge=1, description="training steps of the heads; 150 to 200, and a rate that suits the pool, if absent"),
    ] = None
    seed: Annotated[int, Field(description="from which all random draws follow")] = 0
    train: Annotated[
        Training | None,
        Field(description="light or full: train encoders on the pixels, from norms and biases alone or from all weights on"),
    ] = None
    epochs: Annotated[
        int | None, Field(ge=1, description="of train: passes over the images; as many as suit the folder if absent")
    ] = None
    skip_broken: Annotated[bool, Field(description="leave unreadable images out instead of an error")] = False


OPTIONS: Mapping[str, FieldInfo] = FitOptions.__pydantic_fields__  # type: ignore[attr-defined]
DEFAULTS = FitOptions()


def fit_options(values: Mapping[str, Any], shown: Callable[[str], str] = str) -> FitOptions:
    """Checked options; ``shown`` turns a name into what the user wrote, e.g. ``image_size`` into ``--image-size``.

    Raises:
        InputError: naming every option that does not exist or is out of its bounds, and what would be right.
    """
    try:
        options = FitOptions(**values)
        if options.epochs is not None and options.train is None:
            raise InputError(f"{shown('epochs')} is of {shown('train')}: give {shown('train')} light or full too")
        return options
    except ValidationError as error:
        raise InputError("\n".join(dict.fromkeys(_fault(dict(fault), shown) for fault in error.errors()))) from None


def _fault(fault: Mapping[str, Any], shown: Callable[[str], str]) -> str:
    name = str(fault["loc"][0])
    if name in FORMER:
        return f"{shown(name)} is no option any more; it is {shown(FORMER[name])}"
    if name not in OPTIONS:
        near = difflib.get_close_matches(name, OPTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(OPTIONS)}"
        return f"unknown option {shown(name)}; {hint}"
    too_far = fault["type"].startswith(("greater_than", "less_than"))
    given, said = fault["input"], fault["msg"].removeprefix("Value error, ")
    short = given if isinstance(given, str | int | float) else " ".join(reprlib.repr(given).split())
    return f"{shown(name)} {short}: {'must be ' + bounds(OPTIONS[name]) if too_far else said}"


def option_help(name: str) -> str:
    """Description and bounds of an option, on one line."""
    right = bounds(OPTIONS[name])
    return f"{OPTIONS[name].description}" + (f" ({right})" if right else "")


def argument_docs(*names: str) -> str:
    """Lines ``name: help`` for the Args section of a docstring; of all options where no name is given."""
    return "\n        ".join(f"{name}: {option_help(name)}." for name in names or OPTIONS)
