"""Figures: what they count, and that a page can take them as they are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from paws.report import figures
from paws.report.contents import MethodBar
from paws.report.projection import project
from tests.report.made import contents, evaluated


def drawings() -> dict[str, str]:
    page = contents(classes=4)
    assert page.evaluated is not None
    counts = figures.confusion_matrix(page.evaluated, 4)
    return {
        "curve": figures.curve(page.curves, ["loss", "cross_entropy"]),
        "comparison": figures.comparison(page.bars),
        "reliability": figures.reliability(page.evaluated.bins, 0.6),
        "confusion": figures.confusion(counts, page.classes),
    }


def test_names_that_no_font_here_has_are_left_to_the_page() -> None:
    assert "日本" in figures.confusion(np.eye(2, dtype=int), ["日本", "cat"])


def test_figures_are_well_formed_painted_by_the_page_and_the_same_each_time() -> None:
    first, second = drawings(), drawings()
    assert first == second
    for svg in first.values():
        ElementTree.fromstring(svg)
        assert "var(--" in svg
        assert not re.findall(r"#[0-9a-f]{6}\b", svg), "a colour that does not follow the theme"
        assert "http" not in svg


def test_each_head_of_an_ensemble_has_its_own_line() -> None:
    rows = [{"head": head, "step": step, "loss": head + 1 / step} for head in range(3) for step in (1, 2, 3, 4)]
    lines = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--accent\)', figures.curve(rows, ["loss"]))
    assert [line.count("L") for line in lines] == [3, 3, 3]


def test_ids_of_different_figures_differ() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in drawings().values()]
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_confusion_counts_each_pair() -> None:
    found = evaluated(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2]), np.ones(5))
    expected = np.zeros((3, 3), int)
    for true, named in zip(found.truth, found.predicted, strict=True):
        expected[true, named] += 1
    assert np.array_equal(figures.confusion_matrix(found, 3), expected)


def test_confusion_of_many_classes_shows_those_with_most_mistakes() -> None:
    counts = np.diag(np.full(200, 5))
    counts[150, 7] = 9
    svg = figures.confusion(counts, [f"kind-{c}." for c in range(200)])
    assert "kind-150." in svg
    assert "kind-7." in svg
    assert svg.count("kind-") == 2 * figures.MATRIX_CLASSES


def test_names_in_figures_are_escaped() -> None:
    svg = figures.comparison([MethodBar("<script>&", 0.5, None)])
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def test_map_keeps_neighbours_together_and_is_the_same_each_time() -> None:
    draws = np.random.default_rng(0)
    kind = np.arange(90) % 3
    points = draws.normal(size=(90, 20)) + 20 * np.eye(20)[kind]
    places = project(points)
    assert np.array_equal(places, project(points))
    assert places.min() == 0
    assert places.max() == 1
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(90)
    assert (kind[distances.argmin(1)] == kind).all()


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 1), (3, 8), (7, 1), (40, 2)])
def test_map_of_few_points(shape: tuple[int, int]) -> None:
    places = project(np.random.default_rng(0).normal(size=shape))
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()


def test_map_of_equal_points() -> None:
    assert np.isfinite(project(np.ones((20, 3)))).all()
