"""How the house stands: `python -m benchmarks.house`. Each figure has a bar; a miss ends with an error and says where.

* calls from the verb to the loss: `paws train` and `paws fit` run on tiny data until the loss is called for the first time; all
  functions of paws/ below the verb's on the stack count, the loss too, but not a decorator of the loss.
* circles: groups of modules that import each other, imports inside of functions counted, those for types alone not.
* imports upwards: against the order of ``ROOMS``.
* titles: string constants that equal a method's display title, outside the file of the method.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks.side_by_side import Figure, finish

ROOT = Path(__file__).parents[1]
PAWS = ROOT / "paws"
ROOMS = (  # from the ground up; rooms of a row may import each other
    ("errors", "seeds", "losses", "voting", "metrics", "optim", "distributed", "config"),
    ("runs", "data", "models", "suncet"),
    ("methods",),
    ("classifiers",),
    ("fit", "labels", "train", "bundle"),
    ("report", "label_page", "estimator", "model_selection"),
    ("cli", "__init__", "__main__"),
)
LEVEL = {room: level for level, row in enumerate(ROOMS) for room in row}
BARS = {"train": 4, "fit": 5, "circles": 0, "upwards": 0, "top": 10, "titles": 0}


class LossReached(BaseException):
    """Ends the run whose loss was called."""


def calls_to_the_loss(verb: CodeType, arguments: list[str]) -> list[str]:
    """The functions of paws/ from below ``verb`` to the loss and with it, as `paws ARGUMENTS` calls them."""
    from paws.cli import main
    from paws.losses import consistency, paws_loss

    losses = {inspect.unwrap(each).__code__: each for each in (paws_loss, consistency)}  # heads have votes already
    found: list[str] = []

    def trace(frame: FrameType | None, event: str, _: Any) -> None:
        if event != "call" or frame is None or frame.f_code not in losses:
            return
        found.append(f"{paws_loss.__module__}.{losses[frame.f_code].__name__}")
        while frame is not None and frame.f_code is not verb:
            module = str(frame.f_globals.get("__name__", ""))
            if module.startswith("paws.") and module != paws_loss.__module__:
                found.append(f"{module}.{frame.f_code.co_qualname}")
            frame = frame.f_back
        raise LossReached

    former, sys.argv = sys.argv, ["paws", *arguments]
    sys.setprofile(trace)
    try:
        main()
    except LossReached:
        return found[::-1]
    finally:
        sys.setprofile(None)
        sys.argv = former
    raise SystemExit(f"paws {' '.join(arguments)} never called its loss")


def calls_of_train() -> list[str]:
    """With the card of the digits."""
    from paws.cli.training import train

    with tempfile.TemporaryDirectory() as folder:
        return calls_to_the_loss(train.__code__, ["train", str(ROOT / "configs/digits.yaml"), f"run_dir={folder}/run"])


def calls_of_fit() -> list[str]:
    """With eight images of noise and a network without pretrained weights."""
    import numpy as np
    import timm
    from PIL import Image
    from safetensors.torch import save_file

    from paws.cli.images import fit

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_file(timm.create_model("test_efficientnet").state_dict(), folder / "weights.safetensors")
        for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)):
            path = folder / "images" / f"{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        network = ["--backbone", "test_efficientnet", "--weights", str(folder / "weights.safetensors"), "--image-size", "32"]
        run = ["-o", str(folder / "run"), "--views", "1", "--workers", "0", "--device", "cpu"]
        return calls_to_the_loss(fit.__code__, ["fit", str(folder / "images"), *network, *run])


def modules() -> dict[str, ast.Module]:
    """Every module of paws/ by its dotted name, parsed."""
    found = {}
    for path in sorted(PAWS.rglob("*.py")):
        parts = ["paws", *path.relative_to(PAWS).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """Modules of paws/ that a module imports, but not what stands below ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)
        else:
            yield from imports(node, known)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which leads to all others of its group."""
    reached = {name: _reached(graph, name) for name in graph}
    circular = [name for name in graph if name in reached[name]]
    groups = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in circular}
    return [list(group) for group in sorted(groups)]


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found


def room(module: str) -> str:
    """The room of a dotted name; the package itself is ``__init__``."""
    return module.split(".")[1] if "." in module else "__init__"


def upwards(graph: dict[str, set[str]]) -> list[str]:
    """Imports of a room above the module's own."""
    found = []
    for module, others in graph.items():
        found += [f"{module} -> {other}" for other in sorted(others) if LEVEL[room(other)] > LEVEL[room(module)]]
    return found


def titles(trees: dict[str, ast.Module]) -> list[str]:
    """Where the display title of a method or a predictor stands in a file that is not its own."""
    from paws import classifiers, methods

    tables = [room.table() for room in (classifiers, methods) if hasattr(room, "table")]
    owners: dict[str, set[str]] = {}  # of a title; PAWS trains networks, and as an ensemble it classifies
    for kind in (kind for table in tables for kind in table.values()):
        owners.setdefault(kind.title, set()).add(kind.__module__)
    found = []
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in owners and module not in owners[node.value]:
                found.append(f"{module}, line {node.lineno}: {node.value}")
    return found


def main() -> None:
    """Print every figure, where it misses its bar, and last one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same; there is no shorter form")
    parser.parse_args()
    trees = modules()
    graph = {name: set(imports(tree, set(trees))) - {name} for name, tree in trees.items()}
    top = [path.name for path in sorted(PAWS.glob("*.py"))]
    found = {
        "train": ("calls from the verb train to the loss", calls_of_train()),
        "fit": ("calls from the verb fit to the loss", calls_of_fit()),
        "circles": ("circles of imports", [" <-> ".join(group) for group in circles(graph)]),
        "upwards": ("imports upwards", upwards(graph)),
        "top": ("modules that stand on top", top),
        "titles": ("titles of methods outside of their files", titles(trees)),
    }
    figures = {key: Figure(name, len(items), BARS[key], higher_is_better=False) for key, (name, items) in found.items()}
    for key, (name, items) in found.items():
        if figures[key].missed or key in ("train", "fit"):
            print(f"{name}:", *items, sep="\n    ")
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in PAWS.rglob("*.py"))
    print(f"{lines} lines in {len(trees)} files of paws/")
    finish(*figures.values(), lines=lines)


if __name__ == "__main__":
    main()
