"""The page as a file: complete in itself, safe for any name, whole with parts missing."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from paws.errors import InputError
from paws.report import write_report
from paws.report.contents import Contents
from paws.report.page import curve_figures, render
from paws.report.thumbnails import SIDES, Thumbnails, fitting, open_file
from tests.report.made import STRANGE, contents, square


class Reader(HTMLParser):
    """Start tags with attributes, ids, and the data of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    return render(contents(missing=(3, 4)))


def test_nothing_is_fetched(page: str) -> None:
    for tag, attributes in Reader(page).tags:
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_names_are_text_and_never_markup(page: str) -> None:
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"i", "iframe", "object"})  # a class is called <i>odd</i>
    assert json.loads(reader.scripts[0])["names"][0] == STRANGE
    assert page.count("</script>") == 2


def test_the_page_is_the_same_each_time(page: str) -> None:
    assert render(contents(missing=(3, 4))) == page


def test_missing_images_are_counted_and_named(page: str) -> None:
    assert "2 image files of this page cannot be opened any more" in page
    thumbs = json.loads(Reader(page).scripts[0])["thumbs"]
    assert [i for i, thumb in enumerate(thumbs) if thumb is None] == [3, 4]


def test_ids_are_unique_and_labels_lead_somewhere(page: str) -> None:
    tags = Reader(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags:
        if tag == "a":
            assert (attributes["href"] or "")[1:] in ids
        if tag == "img":
            assert attributes.get("alt")


PARTS = {
    "headline": None,
    "bars": (),
    "evaluated": None,
    "gallery": None,
    "suspicious": (),
    "suggestions": (),
    "curves": (),
    "facts": (),
    "notes": (),
}
TITLES = {
    "bars": "Beside the baselines",
    "evaluated": "What it confuses",
    "gallery": "Map of the images",
    "suspicious": "Look at these labels again",
    "suggestions": "Label these next",
    "curves": 'id="training"',
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_a_run_lacks_is_left_out(part: str) -> None:
    small = contents(classes=2, labelled=2, unlabelled=4)
    page = render(replace(small, **{part: PARTS[part]}))  # type: ignore[arg-type]
    if part in TITLES:
        assert TITLES[part] in render(small)
        assert TITLES[part] not in page


def test_evaluations_are_curves_and_their_names_are_not() -> None:
    rows = [{"step": step, "loss": 1 / step, "lr": 0.1} for step in (1, 2, 3)]
    rows += [{"step": step, "evaluation": "leave-one-out", "loo_top1": 0.5} for step in (2, 3)]
    rows += [{"step": 3, "evaluation": "held-out", "soft_nn_top1": 0.5}]
    assert [title for title, _, _ in curve_figures(rows)] == ["Losses", "Leave-one-out accuracy", "Learning rate"]


def test_a_bare_page() -> None:
    assert "nothing known" in render(Contents("bare", "nothing known", ("a", "b")))


def test_two_hundred_classes() -> None:
    page = render(contents(classes=200, labelled=200, unlabelled=200))
    assert "of 200" in page
    assert len(set(json.loads(Reader(page).scripts[0])["colours"])) > 100
    assert len(page) < 5_000_000


def test_thumbnails_shrink_to_the_budget_and_never_grow() -> None:
    draw = Image.effect_noise((300, 200), 80)
    openers = [lambda: draw] * 50
    large, small = fitting(openers, 10_000_000), fitting(openers, 60_000)
    assert large.side == SIDES[0]
    assert small.side < large.side
    uri = small.uri("noise", openers[0])
    assert uri is not None
    assert 50 * len(uri) <= 60_000
    tiny = Thumbnails().uri("tiny", lambda: Image.new("L", (8, 8)))
    assert tiny is not None
    assert Image.open(io.BytesIO(base64.b64decode(tiny.split(",")[1]))).size == (8, 8)


def test_a_large_jpeg_is_opened_small(tmp_path: Path) -> None:
    square(1).resize((1600, 1200)).save(tmp_path / "large.jpg")
    opened = open_file(tmp_path / "large.jpg")
    assert min(opened.size) >= SIDES[0]
    assert max(opened.size) < 800
    with pytest.raises(InputError, match=r"gone\.jpg"):
        open_file(tmp_path / "gone.jpg")


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.yaml"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())
