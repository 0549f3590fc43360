"""The report in a real browser: what a person does with it, by pointer, by keyboard and on a phone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from paws.report.page import render
from tests.browser import axe
from tests.browser.chrome import picture, screen
from tests.report.made import contents

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 900), (360, 780)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report ü#1.html"
    path.write_text(render(contents(missing=(3,))), encoding="utf-8")
    return path


@pytest.fixture
def desktop(browser: Any, page: Path) -> Any:
    """The page freshly opened on a light desktop screen."""
    return opened(browser, page, DESKTOP)


def opened(browser: Any, page: Path, size: tuple[int, int], *, dark: bool = False) -> Any:
    screen(browser, *size, dark=dark)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(page.as_uri())
    return browser


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def cards(browser: Any) -> list[int]:
    """Rows of the pictures in the wall, in order."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#cards > li')].map((card) => Number(card.dataset.row))"
    )


def data(browser: Any) -> dict[str, Any]:
    return browser.execute_script("return JSON.parse(document.querySelector('#pictures').textContent)")


def put(browser: Any, name: str, value: str | bool) -> None:
    """Set a control of the wall as a person does, with the event that follows."""
    browser.execute_script(
        "const control = document.querySelector('#filters').elements[arguments[0]];"
        "if (typeof arguments[1] === 'boolean') control.checked = arguments[1]; else control.value = arguments[1];"
        "control.dispatchEvent(new Event('input', { bubbles: true }));",
        name,
        value,
    )


def test_opens_without_errors_and_without_the_network(desktop: Any, page: Path) -> None:
    find(desktop, "#more").click()
    assert [entry for entry in desktop.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [json.loads(entry["message"])["message"] for entry in desktop.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in sent
    assert [url for url in sent if not url.startswith(("data:", page.as_uri()))] == []


def test_wall_shows_the_least_sure_first_and_all_in_the_end(desktop: Any) -> None:
    known = data(desktop)
    unlabelled = [i for i, label in enumerate(known["given"]) if label < 0]
    first = cards(desktop)
    assert first == sorted(unlabelled, key=lambda i: (known["probability"][i], i))[: len(first)]
    while find(desktop, "#more").is_displayed():
        find(desktop, "#more").click()
    assert sorted(cards(desktop)) == unlabelled


def test_wall_filters(desktop: Any) -> None:
    known = data(desktop)

    def expect(keep: Any) -> None:
        while find(desktop, "#more").is_displayed():
            find(desktop, "#more").click()
        rows = [i for i, label in enumerate(known["given"]) if label < 0 and keep(i)]
        assert sorted(cards(desktop)) == rows
        said = find(desktop, "#count").text
        assert said.startswith(f"{len(rows)} of" if rows else "None of")

    put(desktop, "class", "2")
    expect(lambda i: known["predicted"][i] == 2)
    put(desktop, "confidence", "60")
    expect(lambda i: known["predicted"][i] == 2 and known["probability"][i] <= 0.6)
    put(desktop, "class", "")
    put(desktop, "abstains", True)
    expect(lambda i: known["abstains"][i] and known["probability"][i] <= 0.6)
    put(desktop, "abstains", False)
    put(desktop, "confidence", "100")
    put(desktop, "wrong", True)
    expect(lambda i: known["predicted"][i] != known["truth"][i])
    put(desktop, "wrong", False)
    put(desktop, "none", True)
    expect(lambda i: known["none"][i] > 0.5)
    put(desktop, "none", False)
    put(desktop, "unfamiliar", "50")
    widest = max(u for u, label in zip(known["unfamiliar"], known["given"], strict=True) if label < 0)
    expect(lambda i: known["unfamiliar"][i] >= widest / 2)
    put(desktop, "confidence", "0")
    expect(lambda i: False)


def test_map_shows_the_image_under_the_pointer(desktop: Any) -> None:
    from selenium.webdriver import ActionChains

    known = data(desktop)
    # labelled points lie on top; one is hovered, its neighbours on the map may cover others
    row = known["given"].index(1)
    point = find(desktop, f'#points [data-row="{row}"]')
    desktop.execute_script("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", point)
    ActionChains(desktop).move_to_element(point).perform()
    tip = find(desktop, "#tip")
    assert tip.is_displayed()
    shown = find(desktop, "#tip img").get_attribute("src")
    assert shown in known["thumbs"]
    name = find(desktop, "#tip .file").text
    assert known["thumbs"][known["names"].index(name)] == shown
    ActionChains(desktop).move_to_element(find(desktop, "#map-title")).perform()
    assert not tip.is_displayed()


def test_map_by_keyboard(desktop: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    known = data(desktop)
    places = {axis: known[axis] for axis in ("x", "y")}
    find(desktop, "#points [tabindex='0']").send_keys(Keys.NULL)
    desktop.execute_script("document.querySelector('#points [tabindex=\"0\"]').focus()")
    start = int(desktop.switch_to.active_element.get_attribute("data-row"))
    assert known["names"][start] in find(desktop, "#tip .file").text
    for key, axis, sign in (
        (Keys.ARROW_RIGHT, "x", 1),
        (Keys.ARROW_LEFT, "x", -1),
        (Keys.ARROW_DOWN, "y", 1),
        (Keys.ARROW_UP, "y", -1),
    ):
        before = int(desktop.switch_to.active_element.get_attribute("data-row"))
        desktop.switch_to.active_element.send_keys(key)
        after = int(desktop.switch_to.active_element.get_attribute("data-row"))
        assert after == before or sign * (places[axis][after] - places[axis][before]) > 0
        assert known["names"][after] == find(desktop, "#tip .file").text
    assert len(desktop.find_elements("css selector", "#points [tabindex='0']")) == 1
    desktop.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not find(desktop, "#tip").is_displayed()


def test_tab_reaches_every_control_with_a_ring(desktop: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    expected = desktop.execute_script(
        "return [...document.querySelectorAll('a, button, select, input, summary, [tabindex=\"0\"]')]"
        ".filter((node) => node.checkVisibility()).map((node, i) => { node.dataset.stop = i; return i; })"
    )
    reached = []
    for _ in range(len(expected) + 5):
        desktop.switch_to.active_element.send_keys(Keys.TAB)
        stop = desktop.execute_script(
            "const node = document.activeElement; const style = getComputedStyle(node);"
            "return [node.dataset.stop, style.outlineStyle !== 'none' || (node.tagName === 'circle' && style.strokeWidth)]"
        )
        if stop[0] is None:
            break
        assert stop[1], f"no focus ring on stop {stop[0]}"
        reached.append(int(stop[0]))
    assert reached == expected


def test_every_control_has_a_name(desktop: Any) -> None:
    nameless = desktop.execute_script(
        "return [...document.querySelectorAll('button, select, input')].filter((node) => !(node.labels?.length"
        " || node.textContent.trim() || node.getAttribute('aria-label'))).map((node) => node.outerHTML)"
    )
    assert nameless == []


def test_class_table_sorts(desktop: Any) -> None:
    def column(index: int) -> list[float]:
        cells = desktop.find_elements("css selector", f".sortable tbody tr > :nth-child({index})")
        return [float(cell.get_attribute("data-value")) for cell in cells]

    button = find(desktop, ".sortable thead th:nth-child(4) button")
    button.click()
    assert column(4) == sorted(column(4), reverse=True)
    button.click()
    assert column(4) == sorted(column(4))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_a_picture_of_the_page_is_not_blank(browser: Any, page: Path, size: tuple[int, int], dark: bool) -> None:
    opened(browser, page, size, dark=dark)
    for place in ("#top", "#mistakes", "#map", "#wall"):
        browser.execute_script("document.querySelector(arguments[0]).scrollIntoView({ behavior: 'instant' })", place)
        grey = Image.open(io.BytesIO(picture(browser))).convert("L")
        counts = grey.histogram()
        common = counts.index(max(counts))  # the paper
        assert common < 60 if dark else common > 200
        assert 1 - sum(counts[max(0, common - 8) : common + 9]) / sum(counts) > 0.02, f"{place} is nearly blank"


def test_theme_button_turns_the_page(desktop: Any) -> None:
    def paper() -> int:
        return Image.open(io.BytesIO(picture(desktop))).convert("L").getpixel((5, 400))  # type: ignore[return-value]

    assert paper() > 200
    find(desktop, "#theme").click()
    assert paper() < 60
    assert find(desktop, "#theme").get_attribute("aria-pressed") == "true"
    find(desktop, "#theme").click()
    assert paper() > 200


@pytest.mark.parametrize("classes", [2, 200])
def test_no_sideways_scrolling_on_a_phone(browser: Any, tmp_path: Path, classes: int) -> None:
    path = tmp_path / "page.html"
    path.write_text(render(contents(classes=classes, labelled=classes, unlabelled=60)), encoding="utf-8")
    opened(browser, path, PHONE)
    assert browser.execute_script("return document.documentElement.scrollWidth") == PHONE[0]
    outside = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter((node) => !node.closest('.scroll, svg')"
        " && node.checkVisibility() && node.getBoundingClientRect().right > innerWidth + 1)"
        ".map((node) => node.className || node.tagName)"
    )
    assert outside == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_axe_finds_nothing_serious(browser: Any, page: Path) -> None:
    axe.script()  # skips where it cannot be had
    for size in (DESKTOP, PHONE):
        for dark in (False, True):
            found = axe.serious_findings(opened(browser, page, size, dark=dark))
            assert not found, f"{size}, dark {dark}: " + "\n".join(found)
