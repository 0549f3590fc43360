"""Why an image was given its class: the labelled images that voted, with their weights, as numbers and as a picture."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from paws.bundle.bundle import none_probability
from paws.bundle.table import abstains
from paws.classifiers.classifier import Classifier
from paws.data.texts import one_line
from paws.errors import InputError
from paws.runs.files import writing

MADE_BY = "paws explain"  # in a picture's notes
TILE, TEXT, COLUMNS = 160, 36, 4  # pixels of a picture's side, of the two lines below it; pictures a row
INK, PAPER, EMPTY = "#1a1a1a", "#ffffff", "#d9d9d9"


@dataclass(frozen=True)
class Neighbour:
    """A labelled image and its share of the vote, in [0, 1]."""

    file: str
    label: str
    weight: float


@dataclass(frozen=True)
class Explanation:
    """What the classifier says of one image, and from where; in the names of predictions.csv where it says the same.

    ``vote`` is the sum of the weights of each class's labelled images, ``probabilities`` what the classifier makes of it
    after calibration; both by class, the most probable first. Where ``votes`` is false, the
    weights show which of them are near, not what decided.
    """

    method: str  # its title
    votes: bool  # whether the weights are the cause of the prediction
    label: str
    probability: float
    abstain: bool
    none: float | None  # probability that it belongs to no class; None where nothing tells of it
    unfamiliar: float  # in [0, 2]: 1 - cosine to the nearest labelled image
    probabilities: dict[str, float]
    vote: dict[str, float]
    nearest: tuple[Neighbour, ...]  # labelled images, most weight first
    parts: dict[str, float]  # weight of each method by its title, where several are combined: ``vote`` is that of the last
    threshold: float  # probability below which it abstains; above 1 where nothing is kept as sure


@torch.inference_mode()
def explain(classifier: Classifier, support_files: Sequence[str], features: Tensor, k: int = 7) -> Explanation:
    """Explain the prediction for one image's frozen features (D,), or (V, D) of its views, with its ``k`` most weighty images.

    ``support_files`` (S,) names the labelled images in the classifier's order.
    """
    probabilities, weights, unfamiliar, strange = (found[0] for found in classifier(features[None].float()))  # (C,), (S,), ()
    labels, names = classifier.support_labels, classifier.classes
    vote = torch.zeros(len(names)).index_add(0, labels, weights)  # (C,)
    order = probabilities.argsort(descending=True, stable=True).tolist()
    top = weights.topk(min(k, len(weights)))
    best = order[0]
    return Explanation(
        classifier.predictor.title,
        classifier.predictor.votes,
        names[best],
        float(probabilities[best]),
        abstains(float(probabilities[best]), float(classifier.threshold), float(strange)),
        none_probability(classifier, probabilities, float(strange)),
        float(unfamiliar),
        {names[i]: float(probabilities[i]) for i in order},
        {names[i]: float(vote[i]) for i in order},
        tuple(
            Neighbour(support_files[i], names[labels[i]], weight)
            for i, weight in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ),
        {part.title: weight for part, weight in classifier.predictor.weighted_parts()},
        float(classifier.threshold),
    )


def save_grid(path: Path, explanation: Explanation, image: Path, root: Path | None) -> None:
    """Write `grid` as a PNG or JPEG file, as the ending says, whole or not at all.

    Raises:
        InputError: another ending, or ``path`` cannot be written.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: images are written as .png or .jpg")
    page = grid(explanation, image, root)
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", MADE_BY)
    with writing(path, ours=MADE_BY.encode()) as file:
        if path.suffix.lower() == ".png":
            page.save(file, "PNG", pnginfo=note)
        else:
            page.save(file, "JPEG", comment=MADE_BY)


def grid(explanation: Explanation, image: Path, root: Path | None) -> Image.Image:
    """The explained image beside the labelled images that it names, each with its label and weight below it.

    A labelled image that is not found below ``root``, or whose ``root`` is not known, is a grey tile with its name.
    """
    said = f"{explanation.label} {explanation.probability:.0%}"
    tiles = [_tile(_picture(image), [image.name, f"predicted: {said}"])]
    for neighbour in explanation.nearest:
        path = None if root is None else root / neighbour.file
        picture = _picture(path) if path is not None and path.is_file() else _placeholder(neighbour.file)
        tiles.append(_tile(picture, [neighbour.file, f"{neighbour.label}, weight {neighbour.weight:.0%}"]))
    rows = -(-len(tiles) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (TILE + 8) + 8, rows * (TILE + TEXT + 8) + 8), PAPER)
    for i, tile in enumerate(tiles):
        page.paste(tile, (8 + i % COLUMNS * (TILE + 8), 8 + i // COLUMNS * (TILE + TEXT + 8)))
    return page


def _picture(path: Path) -> Image.Image:
    from paws.data.images import ImageFile

    pixels = ImageFile(path).decode(max_reduction=2)
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    scale = TILE / max(picture.size)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))


def _placeholder(name: str) -> Image.Image:
    picture = Image.new("RGB", (TILE, TILE), EMPTY)
    draw, font = ImageDraw.Draw(picture), _font()
    draw.text((8, TILE // 2 - 16), f"not found:\n{_fitted(draw, name, font, TILE - 16)}", INK, font)
    return picture


def _tile(picture: Image.Image, lines: list[str]) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE + TEXT), PAPER)
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    draw, font = ImageDraw.Draw(tile), _font()
    for i, line in enumerate(lines):
        draw.text((0, TILE + 2 + 16 * i), _fitted(draw, line, font, TILE), INK, font)
    return tile


def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: Pillow's own font lacks most letters outside English."""
    (folder,) = importlib.util.find_spec("matplotlib").submodule_search_locations  # type: ignore[union-attr, misc]
    return ImageFont.truetype(str(Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """``text``, cut at its beginning where it is wider than ``width`` pixels: the end of a path tells more."""
    text = one_line(text)
    if draw.textlength(text, font) <= width:
        return text
    while draw.textlength(f"…{text}", font) > width:
        text = text[1:]
    return f"…{text}"
