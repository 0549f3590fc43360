"""The labelling page in a real browser: a whole session by keyboard, two tabs, a kill, a phone."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser import axe
from tests.browser.chrome import picture
from tests.browser.hands import (
    HOLD,
    ActionChains,
    Keys,
    begin_to_confirm,
    classes,
    complaints,
    go,
    label,
    labelled,
    opened,
    press,
    sheet,
    shown,
    text,
)
from tests.conftest import write_patterns
from tests.label_page.served import Served, served, wait_for
from tests.label_page.test_process import truth

pytestmark = pytest.mark.browser

VIEWS = ("label", "confirm", "again", "try", "finish")


def test_a_session_by_keyboard(browser: Any, tmp_path: Path, tiny_weights: Path) -> None:
    write_patterns(tmp_path)
    with served(tmp_path, tiny_weights) as server:
        opened(browser, server)
        assert "token" not in browser.current_url
        first = [label(browser) for _ in range(4)]
        press(browser, "u")
        wait_for(lambda: shown(browser) == first[-1], "the picture before")
        press(browser, "u")
        wait_for(lambda: shown(browser) == first[-2], "the one before it")
        assert labelled(server) == 2
        press(browser, " ")
        wait_for(lambda: shown(browser) != first[-2], "the picture after the skipped one")
        before = shown(browser)
        press(browser, "n")
        wait_for(lambda: shown(browser) != before, "the picture after one of no class")
        assert server.ask("/state")["none"] == 1
        browser.refresh()
        wait_for(lambda: shown(browser), "the page after a reload")
        while labelled(server) < 8 or len(classes(browser)) < 3:
            label(browser)
        here = shown(browser)
        press(browser, Keys.ENTER)
        wait_for(lambda: browser.execute_script("return document.querySelector('#look').open"), "the picture closely")
        assert here in text(browser, "#look")
        press(browser, Keys.ESCAPE)
        press(browser, "g")
        wait_for(lambda: browser.execute_script("return document.querySelectorAll('#pictures .tile').length"), "the grid")
        count = labelled(server)
        press(browser, Keys.ARROW_RIGHT, "1")
        wait_for(lambda: labelled(server) == count + 1, "the label of a tile")
        press(browser, "g")
        wait_for(lambda: shown(browser), "one picture again")
        former, other = classes(browser)[:2]
        browser.find_element("id", "edit").click()
        browser.find_element("css selector", "#names input").send_keys(Keys.END, " and more", Keys.ENTER)
        wait_for(lambda: classes(browser)[0] == f"{former} and more", "the new name")
        field = browser.find_element("css selector", "#names input")
        field.send_keys(*[Keys.BACKSPACE] * len(f"{former} and more"), other, Keys.ENTER)
        wait_for(lambda: former not in " ".join(classes(browser)), "one class in place of two")
        press(browser, Keys.ESCAPE)
        press(browser, "u", "u")
        wait_for(lambda: classes(browser)[:2] == [former, other], "both as they were")
        assert complaints(browser) == []


def test_a_broken_picture_is_told_and_any_sign_begins_a_name(browser: Any, tmp_path: Path, tiny_weights: Path) -> None:
    images = write_patterns(tmp_path, per_class=2)
    (images / "cut off.png").write_bytes(next(images.glob("*.png")).read_bytes()[:60])
    with served(tmp_path, tiny_weights) as server:
        opened(browser, server)
        wait_for(lambda: "One picture cannot be read: cut off.png (" in text(browser, "#step"), "what is wrong")
        names = [label(browser) for _ in range(5)]
        assert "cut off.png" not in names
        press(browser, "<b>", Keys.ENTER)
        wait_for(lambda: "Every picture has a label" in text(browser, "#pictures"), "the end")
        assert "<b>" in classes(browser) and labelled(server) == 6
        go(browser, "confirm")
        wait_for(lambda: "Every picture has a label" in text(browser, "#confirm-lead"), "that there is nothing to confirm")


def test_bulk_two_tabs_and_a_kill(browser: Any, tmp_path: Path, tiny_weights: Path) -> None:
    write_patterns(tmp_path)
    with served(tmp_path, tiny_weights) as server:
        begin_to_confirm(browser, server)
        browser.execute_script(
            "const select = document.querySelector('#confirm-class'); select.value = 'rows';"
            "select.dispatchEvent(new Event('change'))"
        )
        tiles = wait_for(lambda: browser.find_elements("css selector", "#confirm-grid .tile"), "a sheet")
        wait_for(lambda: "rows" in text(browser, "#confirm-title"), "the class that was asked for")
        tiles = browser.find_elements("css selector", "#confirm-grid .tile")
        tiles[-1].send_keys(" ")
        assert tiles[-1].get_attribute("aria-pressed") == "true"
        before = labelled(server)
        press(browser, Keys.ENTER)
        wait_for(lambda: labelled(server) == before + len(tiles) - 1, "what was not marked")
        other = Tab(browser, server)
        press(browser, "u")
        other.first()
        wait_for(lambda: labelled(server) == before, "the bulk taken back")
        other.second()
        wait_for(lambda: text(browser, "#done b") == str(before), "the count in the other tab")
        other.close()
        server.kill()
        wait_for(lambda: "does not answer" in text(browser, "#banner"), "the note that the server is gone")
    with served(tmp_path, tiny_weights) as server:
        assert labelled(server) == before and server.ask("/state")["undoable"]
        opened(browser, server)
        go(browser, "label")
        press(browser, "u")
        wait_for(lambda: labelled(server) == before - 1, "undo after the restart")
        for view in VIEWS:
            go(browser, view)
        assert complaints(browser) == []


def test_the_class_of_a_wrong_guess_confirms_those_before_it(browser: Any, tmp_path: Path, tiny_weights: Path) -> None:
    write_patterns(tmp_path)
    with served(tmp_path, tiny_weights) as server:
        begin_to_confirm(browser, server)
        wait_for(lambda: sheet(browser), "guesses")
        first, before = sheet(browser), labelled(server)
        wrong, looks = first[3][0], {row: guess for row, _, guess in first[:3]}
        looks[wrong] = next(name for name in classes(browser) if name != first[3][2])
        tiles = browser.find_elements("css selector", "#confirm-grid .tile")
        ActionChains(browser).move_to_element(tiles[3]).perform()
        wait_for(lambda: len(browser.find_elements("css selector", "#confirm-grid .tile.before")) == 3, "those that go with it")
        press(browser, str(classes(browser).index(looks[wrong]) + 1))
        wait_for(lambda: sheet(browser) and not {row for row, _, _ in sheet(browser)} & set(looks), "the rest")
        assert labelled(server) == before + 4
        assert {row: server.ask(f"/look/{row}")["label"] for row in looks} == looks
        browser.execute_script(HOLD, "undo")
        press(browser, "u")
        wait_for(lambda: text(browser, "#done b") == str(before), "all four taken back, as another request tells")
        early = [path for path in browser.execute_script("return window.asked") if path.startswith("sheet")]
        assert not early, "a sheet that the one after the undo would replace under the user's hand"
        browser.execute_script("window.release()")
        wait_for(lambda: wrong in {row for row, _, _ in sheet(browser)}, "the sheet as it was")
        press(browser, Keys.ARROW_RIGHT)
        row = browser.execute_script("return document.activeElement.dataset.row")
        press(browser, "/")
        wait_for(lambda: browser.switch_to.active_element.get_attribute("id") == "confirm-typed", "the field")
        press(browser, "something new", Keys.ENTER)
        wait_for(lambda: server.ask(f"/look/{row}")["label"] == "something new", "the new class of the one that has the frame")
        assert complaints(browser) == []


class Typist:
    """Presses keys and counts them."""

    def __init__(self, browser: Any) -> None:
        self.browser, self.count = browser, 0

    def press(self, *keys: str) -> None:
        press(self.browser, *keys)
        self.count += sum(len(key) for key in keys)

    def view(self, number: int) -> None:
        ActionChains(self.browser).key_down(Keys.ALT).send_keys(str(number)).key_up(Keys.ALT).perform()
        self.count += 1

    def label(self) -> None:
        """Label the picture that is shown: by its class's key, or by typing the class where it is new."""
        name, known = shown(self.browser), classes(self.browser)
        wanted = truth(name)
        self.press(*([str(known.index(wanted) + 1)] if wanted in known else [*wanted, Keys.ENTER]))
        wait_for(lambda: shown(self.browser) not in ("", name), "the next picture")

    def confirm(self) -> None:
        """Give the first wrong guess its class, or confirm all."""
        for number, (_, name, guess) in enumerate(sheet(self.browser)):
            if truth(name) != guess:
                tile = self.browser.find_elements("css selector", "#confirm-grid .tile")[number]
                ActionChains(self.browser).move_to_element(tile).perform()
                self.press(str(classes(self.browser).index(truth(name)) + 1))
                return
        self.press(Keys.ENTER)


@pytest.mark.parametrize("per_class, network", [(70, "tiny"), pytest.param(667, "own", marks=pytest.mark.slow)])
def test_sixty_keys_to_predictions_bundle_and_page(
    browser: Any, tmp_path: Path, tiny_weights: Path, per_class: int, network: str
) -> None:
    write_patterns(tmp_path, per_class)
    with served(tmp_path, tiny_weights if network == "tiny" else None) as server:
        opened(browser, server)
        typist = Typist(browser)
        while labelled(server) < 20:
            typist.label()
        wait_for(lambda: (state := server.ask("/state"))["step"][0] == "ready" and _current(state), "the learner")
        typist.view(2)
        for _ in range(3):
            wait_for(lambda: sheet(browser), "a sheet")
            before = labelled(server)
            typist.confirm()
            wait_for(lambda before=before: labelled(server) > before and _current(server.ask("/state")), "votes with the sheet")
        typist.view(5)
        wait_for(lambda: browser.find_elements("css selector", "#finish:not([hidden])"), "the last part")
        typist.press(Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB)
        assert browser.switch_to.active_element.text == "Write the report"
        typist.press(Keys.ENTER)
        done = wait_for(lambda: (job := server.ask("/state")["job"]) and job["state"] != "running" and job, "the fit")
        assert done["state"] == "done", done["text"]
        assert typist.count <= 60, "keys"
        made = {path.name for path in (tmp_path / "run").iterdir()}
        assert {"predictions.csv", "bundle", "report.html", "labels.csv"} <= made
        with (tmp_path / "run/predictions.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 3 * per_class
        assert sum(truth(row["file"]) == row["label"] for row in rows) >= 0.9 * len(rows)
        assert complaints(browser) == []
        browser.get((tmp_path / "run/report.html").as_uri())
        browser.find_element("partial link text", "look at labels again").click()  # no cookie comes from a file
        wait_for(lambda: browser.find_elements("css selector", "#again:not([hidden])"), "the page that the report links into")
        assert browser.current_url == f"{server.home}/#again"
        printed = server.interrupt()
        assert "Traceback" not in printed and "ERROR" not in printed, printed
        assert not (tmp_path / "run/label/address").exists()


def _current(state: dict[str, Any]) -> bool:
    return bool(state["believed"] == state["revision"] and state["measures"]["expected"])


class Tab:
    """A second tab on the same page."""

    def __init__(self, browser: Any, server: Served) -> None:
        self.browser, self.one = browser, browser.current_window_handle
        browser.switch_to.new_window("tab")
        self.two = browser.current_window_handle
        browser.get(server.address)
        wait_for(lambda: shown(browser), "the second tab")
        self.first()

    def first(self) -> None:
        self.browser.switch_to.window(self.one)

    def second(self) -> None:
        self.browser.switch_to.window(self.two)

    def close(self) -> None:
        self.second()
        self.browser.close()
        self.first()


def test_a_phone_in_light_and_dark(browser: Any, tmp_path: Path, tiny_weights: Path) -> None:
    write_patterns(tmp_path, classes=("dots", "rows"))
    with served(tmp_path, tiny_weights, "--classes", "dots,rows,7,a class with a rather long name <b>&amp;") as server:
        for dark in (False, True):
            opened(browser, server, 360, 780, dark=dark)
            label(browser)
            for view in VIEWS:
                go(browser, view)
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= 360, f"{view} scrolls sideways: {wide}"
                with Image.open(io.BytesIO(picture(browser))) as image:
                    assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 50
            go(browser, "label")
        assert "a class with a rather long name <b>&amp;" in classes(browser)
        keys = "return [...document.querySelectorAll('#classes kbd')].map((each) => each.textContent)"
        assert browser.execute_script(keys) == ["1", "2", "7", "3"], "a class of one sign has it as its key"
        nameless = browser.execute_script(
            "return [...document.querySelectorAll('button, a, select, input, img')].filter((each) => each.offsetParent"
            " && !(each.getAttribute('aria-label') || each.alt || each.textContent.trim() || each.labels?.length)).length"
        )
        assert nameless == 0


def labelled_by_requests(server: Served, count: int = 12) -> None:
    """Label the first pictures in turn, as fast as it answers, and wait for votes."""
    for number in range(count):
        first = server.ask("/state")["next"][0]
        server.mark(first["row"], truth(first["name"]), f"quickly {number}")
    wait_for(
        lambda: (state := server.ask("/state"))["believed"] == state["revision"] and state["measures"]["expected"], "votes"
    )


def test_axe_finds_nothing_serious(browser: Any, tmp_path: Path, tiny_weights: Path) -> None:
    axe.script()  # skips where it cannot be had
    write_patterns(tmp_path)
    first = next((tmp_path / "images").glob("*.png"))
    shutil.copy(first, first.with_stem(f"{first.stem} copy"))
    with served(tmp_path, tiny_weights) as server:
        labelled_by_requests(server)
        found = []
        for width, dark in ((1280, False), (1280, True), (360, False), (360, True)):
            opened(browser, server, width, 900, dark=dark)
            for view in VIEWS:
                go(browser, view)
                if view == "confirm":
                    wait_for(lambda: text(browser, "#confirm-lead"), "the sheet, or why there is none")
                found += [f"{view}, {width}, dark {dark}: {each}" for each in axe.serious_findings(browser)]
            go(browser, "label")
            for button, dialog in (("#closer", "#look"), ("#edit", "#names"), ("#help", "#keys")):
                browser.execute_script("document.querySelector(arguments[0]).click()", button)
                wait_for(lambda selector=f"{dialog}[open]": browser.find_elements("css selector", selector), dialog)
                found += [f"{dialog}, {width}, dark {dark}: {each}" for each in axe.serious_findings(browser)]
                browser.execute_script("document.querySelector(arguments[0]).close()", dialog)
            press(browser, "g")
            wait_for(lambda: browser.execute_script("return document.querySelectorAll('#pictures .tile').length"), "the grid")
            found += [f"grid, {width}, dark {dark}: {each}" for each in axe.serious_findings(browser)]
        assert not found, "\n".join(found)
