"""Labels from elsewhere and to elsewhere: tables, folders with one sub-folder per class, JSON of Label Studio."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from paws.data.formats import find_images
from paws.data.labelled_folder import match_rows
from paws.data.labels import listed, read_labels
from paws.data.texts import from_json
from paws.errors import InputError
from paws.label_page.session import class_name
from paws.runs.files import write_text

STUDIO, STUDIO_CONFIG = "label-studio.json", "label-studio.xml"  # in the folder of the run
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the names of uploaded files


def read_all(paths: Sequence[Path], images: Path, names: Sequence[str]) -> dict[str, str]:
    """What `read_any` reads of several.

    Raises:
        InputError: as it does, or two of them contradict each other about a picture.
    """
    found: dict[str, str] = {}
    for path in paths:
        for name, label in read_any(path, images, names).items():
            if found.setdefault(name, label) != label:
                raise InputError(f"{path}: {name} is {label!r}, but {found[name]!r} in what was read before; give it one label")
    return found


def read_any(path: Path, images: Path, names: Sequence[str]) -> dict[str, str]:
    """Label of each of ``names``, pictures below ``images``, that ``path`` labels: a CSV or .jsonl, Label Studio's .json, or a
    folder with one sub-folder per class (that of the images, or one that holds copies of them).

    Raises:
        InputError: it cannot be read, or names pictures that are not there; all of them are named.
    """
    if path.is_dir():
        found, unknown = by_folder(path, images, names)
    elif path.suffix == ".json":
        try:
            found, unknown = from_label_studio(from_json(path.read_bytes()), names)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as JSON: {error}") from None
    else:
        found, unknown = match_rows(images, names, read_labels(path))
    if unknown:
        raise InputError(listed(f"{path}: {len(unknown)} problem(s) with the labels", unknown))
    if not found:
        raise InputError(f"{path}: holds no label of a picture of {images}")
    try:
        return {file: class_name(label) for file, label in found.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def by_folder(path: Path, images: Path, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Labels by the first sub-folder below ``path``, and pictures there that are none of ``names``."""
    known, found, unknown = _Names(names), dict[str, str](), []
    own = path.resolve() == images.resolve()
    for file in find_images(path):
        label, _, rest = file.partition("/")
        if not rest:
            continue
        name = file if own else known.find(rest)
        if name is None:
            unknown.append(f"{file}: no picture of {images} has this name, or several have")
        elif found.setdefault(name, label) != label:
            unknown.append(f"{file}: lies in the folder {found[name]} too")
    return found, unknown


def from_label_studio(tasks: Any, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Labels of tasks as Label Studio exports them (JSON, or JSON-MIN), and what names no picture or cannot be read.

    The first choice of the last annotation that was not cancelled counts.
    """
    if not isinstance(tasks, list):
        raise InputError("not an export of Label Studio: a list of tasks is expected")
    known, found, problems = _Names(names), dict[str, str](), []
    for number, task in enumerate(tasks, 1):
        try:
            data = task.get("data", task)
            where = data.get("file") or next(data[key] for key in ("image", "img", "url") if key in data)
            label = _choice(task)
            path = _path(str(where))
        except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
            problems.append(f"task {number}: holds no picture that can be told")
            continue
        name = known.find(path)
        if name is None and label is not None:
            problems.append(f"task {number}: {path} is no picture of the folder, or several have this name")
        elif name is not None and label is not None and found.setdefault(name, label) != label:
            problems.append(f"task {number}: {name} is {label!r}, but {found[name]!r} in an earlier task")
    return found, problems


def to_label_studio(
    names: Sequence[str], labels: Mapping[int, str], predicted: Mapping[int, tuple[str, float]]
) -> list[dict[str, Any]]:
    """Tasks for Label Studio's local files: given labels as annotations, others as predictions with their probability."""
    tasks = []
    for row, name in enumerate(names):
        task: dict[str, Any] = {"data": {"image": f"/data/local-files/?d={quote(name)}", "file": name}}
        if row in labels:
            task["annotations"] = [{"result": [_result(labels[row])]}]
        elif row in predicted:
            label, probability = predicted[row]
            task["predictions"] = [{"model_version": "paws", "score": round(probability, 4), "result": [_result(label)]}]
        tasks.append(task)
    return tasks


def write_label_studio(
    folder: Path,
    names: Sequence[str],
    labels: Mapping[int, str],
    predicted: Mapping[int, tuple[str, float]],
    classes: Iterable[str],
) -> Path:
    """Write the tasks, and the labelling interface that goes with them, into a folder; returns where the tasks are."""
    tasks = to_label_studio(names, labels, predicted)
    write_text(folder / STUDIO, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    write_text(folder / STUDIO_CONFIG, label_config(classes))
    return folder / STUDIO


def label_config(classes: Iterable[str]) -> str:
    """The labelling interface that goes with `to_label_studio`."""
    from markupsafe import escape

    choices = "".join(f'<Choice value="{escape(name)}"/>' for name in classes)
    return f'<View><Image name="image" value="$image"/><Choices name="label" toName="image">{choices}</Choices></View>\n'


class _Names:
    """Pictures by the ends of their paths: the whole name, or the longest end that a single picture has."""

    def __init__(self, names: Sequence[str]) -> None:
        self.whole = set(names)
        self.ends: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self.ends[PurePosixPath(name).name].append(name)

    def find(self, path: str) -> str | None:
        """The picture that ``path`` means, None where there is none or more than one."""
        parts = PurePosixPath(path).parts
        for start in range(len(parts)):
            if (end := "/".join(parts[start:])) in self.whole:
                return end
        last = parts[-1] if parts else ""
        for base in (last, UPLOADED.sub("", last)):
            if len(self.ends.get(base, ())) == 1:
                return self.ends[base][0]
        return None


def _result(label: str) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}


def _choice(task: dict[str, Any]) -> str | None:
    """The label of a task; None where it has none."""
    if "data" not in task:  # JSON-MIN: the names of controls are keys
        found = next((task[key] for key in ("label", "choice") if key in task), None)
        found = found.get("choices") if isinstance(found, dict) else found
        found = next(iter(found), None) if isinstance(found, list) else found
        return None if found is None else _text(found)
    for annotation in reversed(task.get("annotations") or task.get("completions") or []):
        if annotation.get("was_cancelled"):
            continue
        for result in annotation["result"]:
            if result.get("type") == "choices" and result["value"]["choices"]:
                return _text(result["value"]["choices"][0])
    return None


def _text(choice: Any) -> str:
    if not isinstance(choice, str | int | float):
        raise TypeError(choice)
    return str(choice)


def _path(where: str) -> str:
    """The path in an address of Label Studio, or in a plain one."""
    parts = urlsplit(where)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)
