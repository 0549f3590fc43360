"""What is pressed, pointed at or typed is meant for what is seen: it goes to no other picture, and is not lost in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Iterator[Served]:
    """One for all: each test goes on where the one before it has left the folder."""
    folder = tmp_path_factory.mktemp("labelled by hand")
    images = write_patterns(folder, per_class=60)
    for path in sorted(images.glob("*.png"))[:3]:
        path.with_stem(f"{path.stem} copy").write_bytes(path.read_bytes())
    with served(folder, tiny_weights) as started:
        yield started


STILL = "const now = performance.now(); performance.now = () => now;"  # nothing has been on the screen for long

DEAF = (
    "const json = Response.prototype.json; Response.prototype.json = function () {"
    " return this.url.includes('/state') ? new Promise(() => {}) : json.call(this); };"
)  # what others do is not heard of


def label_of(server: Served, row: int) -> str | None:
    return server.ask(f"/look/{row}")["label"]  # type: ignore[no-any-return]


def row_of(browser: Any, picture: str = ".shot") -> int:
    """The number of the picture that is shown, or of the one with the frame."""
    return int(
        browser.execute_script(f"return /picture.([0-9]+)/.exec(document.querySelector('#pictures {picture} img').src)[1]")
    )


def done(browser: Any, server: Served) -> bool:
    """Whether the page shows how many pictures are done."""
    state = server.ask("/state")
    return text(browser, "#done b") == str(state["labelled"] + state["none"])


def elsewhere(server: Served, row: int) -> int:
    """Another tab labels a picture; returns how many labels there are then."""
    return int(server.mark(row, "elsewhere", uuid4().hex)["labelled"])


def started_to_type(browser: Any, field: str = "typed") -> None:
    press(browser, "/")
    wait_for(lambda: browser.switch_to.active_element.get_attribute("id") == field, "the field")


def two_classes(browser: Any, server: Served) -> None:
    opened(browser, server)
    while len(classes(browser)) < 2:
        label(browser)


def frame(browser: Any) -> str:
    """The name of the picture in the grid that is framed."""
    return browser.execute_script("return document.querySelector('#pictures .framed img')?.alt ?? ''")  # type: ignore[no-any-return]


def test_cards_of_a_second_look_keep_their_places(browser: Any, server: Served) -> None:
    opened(browser, server)
    wait_for(lambda: server.ask("/state")["step"][0] == "ready" and len(_pairs(server)) >= 3, "the copies")
    for number, pair in enumerate(_pairs(server)[:3]):
        name = truth(pair["items"][0]["name"])
        server.mark(pair["rows"][0], name, f"one of pair {number}")
        server.mark(pair["rows"][1], "another", f"other of pair {number}")
    go(browser, "again")
    cards = wait_for(lambda: _cards(browser, 3), "the contradictions")
    names = [card.text for card in cards]
    cards[0].find_element("css selector", ".acts button").click()
    wait_for(lambda: "settled" in cards[0].get_attribute("class"), "the first one")
    assert [card.text for card in _cards(browser, 3)] == names, "no card has come to the place of another"
    assert not cards[0].find_element("css selector", ".acts button").is_enabled()
    go(browser, "label")
    go(browser, "again")
    wait_for(lambda: _cards(browser, 2), "what is left")
    assert complaints(browser) == []


def _pairs(server: Served) -> list[dict[str, Any]]:
    return [pair for pair in server.ask("/again")["copies"] if pair["equal"]]


def _cards(browser: Any, count: int) -> list[Any] | None:
    found = browser.find_elements("css selector", "#contradictions .pair-card")
    return found if len(found) == count else None


def test_a_class_typed_or_clicked_goes_to_the_tile_with_the_frame(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    press(browser, "g")
    wait_for(lambda: frame(browser), "the grid")
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    row = row_of(browser, ".framed")
    started_to_type(browser)
    press(browser, "something new", Keys.ENTER)
    wait_for(lambda: label_of(server, row) == "something new", "the typed class")
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    row = row_of(browser, ".framed")
    button = browser.find_element("css selector", "#classes .class")
    name = button.get_attribute("title")
    button.click()
    wait_for(lambda: label_of(server, row) == name, "the clicked class")
    assert complaints(browser) == []


def test_a_tile_that_another_tab_labelled_says_so(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    press(browser, "g")
    wait_for(lambda: frame(browser), "the grid")
    browser.execute_script(STILL)
    row, name, count = row_of(browser, ".framed"), frame(browser), elsewhere(server, row_of(browser, ".tile:nth-child(3)"))
    wait_for(lambda: text(browser, "#pictures .tile:nth-child(3) .cap") == "elsewhere", "the label of another tile")
    assert text(browser, "#pictures .framed .cap") == name, "the others are open"
    press(browser, "1")
    wait_for(lambda: labelled(server) == count + 1, "a key for the tile with the frame counts")
    row = row_of(browser, ".framed")
    count = elsewhere(server, row)
    wait_for(lambda: text(browser, "#pictures .framed .cap") == "elsewhere", "the label of the tile with the frame")
    press(browser, "1")
    wait_for(lambda: "did not count" in text(browser, "#said"), "that it is told")
    assert label_of(server, row) == "elsewhere" and labelled(server) == count
    assert complaints(browser) == []


def test_a_label_that_is_right_is_not_in_doubt_after_a_reload(browser: Any, server: Served) -> None:
    opened(browser, server)
    while (state := server.ask("/state"))["labelled"] < 16:
        server.mark(state["next"][0]["row"], truth(state["next"][0]["name"]), uuid4().hex)
    item = state["next"][0]
    server.mark(item["row"], next(c["name"] for c in state["classes"] if c["name"] != truth(item["name"])), uuid4().hex)
    go(browser, "again")
    cards = "#doubtful .pair-card:not(.settled)"
    card = wait_for(lambda: browser.find_elements("css selector", cards), "a label in doubt")[0]
    of, count = card.get_attribute("data-of"), len(browser.find_elements("css selector", cards))
    card.find_elements("css selector", ".acts button")[1].click()
    wait_for(lambda: len(browser.find_elements("css selector", cards)) < count, "that it is settled")
    browser.refresh()
    wait_for(lambda: text(browser, "#doubtful"), "the list after a reload")
    assert of not in browser.execute_script(
        "return [...document.querySelectorAll('#doubtful .pair-card')].map((card) => card.dataset.of)"
    )
    assert complaints(browser) == []


def test_a_picture_stays_while_its_class_is_typed(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    name, row = shown(browser), row_of(browser)
    count = elsewhere(server, next(each["row"] for each in server.ask("/state")["next"] if each["row"] != row))
    wait_for(lambda: done(browser, server), "that it asks about the picture which it shows")
    started_to_type(browser)
    press(browser, "something")
    count = elsewhere(server, row)
    wait_for(lambda: done(browser, server), "what the other tab did")
    assert shown(browser) == name
    press(browser, " new", Keys.ENTER)
    wait_for(lambda: label_of(server, row) == "something new", "the typed class")
    wait_for(lambda: shown(browser) not in ("", name), "the next picture")
    assert labelled(server) == count
    assert complaints(browser) == []


def test_a_key_for_a_picture_that_another_tab_took_away_does_not_count(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    name, row = shown(browser), row_of(browser)
    browser.execute_script(STILL)
    count = elsewhere(server, row)
    wait_for(lambda: shown(browser) not in ("", name), "the next picture")
    press(browser, "1")
    wait_for(lambda: "did not count" in text(browser, "#said"), "that it is told")
    assert labelled(server) == count
    browser.execute_script("performance.now = () => 1e9")
    press(browser, "1")
    wait_for(lambda: labelled(server) == count + 1, "the label of the picture that is seen")


def test_a_key_while_an_undo_is_on_its_way_does_not_count(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    last, count = label(browser), labelled(server)
    browser.execute_script(HOLD, "undo")
    press(browser, "u")
    wait_for(lambda: labelled(server) == count - 1, "the undo at the server")
    press(browser, "1")
    browser.execute_script("window.release()")
    wait_for(lambda: shown(browser) == last, "the picture before")
    assert "did not count" in text(browser, "#said")
    press(browser, "1")
    wait_for(lambda: labelled(server) == count, "its label")
    wait_for(lambda: shown(browser) not in ("", last), "the next picture")
    assert labelled(server) == count


def test_a_held_key_is_one_key(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    name, count = shown(browser), labelled(server)
    key = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], repeat: arguments[1], bubbles: true}))"
    browser.execute_script(key, "1", True)
    browser.execute_script(key, "n", False)
    wait_for(lambda: shown(browser) not in ("", name), "the next picture")
    assert labelled(server) == count and "None of these" in text(browser, "#said")


def test_what_is_typed_after_the_field_was_left_is_whole(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    browser.execute_script("window.later = []; window.clock = setTimeout; setTimeout = (what) => window.later.push(what);")
    started_to_type(browser)
    press(browser, "ab", Keys.ESCAPE)
    started_to_type(browser)
    press(browser, "cd")
    browser.execute_script("for (const what of window.later.splice(0)) what(); setTimeout = window.clock;")
    assert browser.switch_to.active_element.get_attribute("value") == "cd"


def test_other_names_that_are_being_typed_stay(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    one, other, *_ = classes(browser)
    browser.find_element("id", "edit").click()
    first, second, *_ = browser.find_elements("css selector", "#names input")
    first.send_keys(Keys.END, " and more")
    second.send_keys(Keys.END, " again", Keys.ENTER)
    wait_for(lambda: f"{other} again" in classes(browser), "the new name")
    wait_for(lambda: _values(browser)[:2] == [f"{one} and more", f"{other} again"], "the names anew")
    browser.find_element("css selector", "#names input").send_keys(Keys.ENTER)
    wait_for(lambda: classes(browser)[:2] == [f"{one} and more", f"{other} again"], "the other new name")
    press(browser, Keys.ESCAPE)
    press(browser, "u", "u")
    wait_for(lambda: classes(browser)[:2] == [one, other], "both as they were")


def _values(browser: Any) -> list[str]:
    return browser.execute_script("return [...document.querySelectorAll('#names input')].map((each) => each.value)")  # type: ignore[no-any-return]


def test_the_mouse_may_move_while_a_class_is_typed(browser: Any, server: Served) -> None:
    begin_to_confirm(browser, server)
    first = wait_for(lambda: sheet(browser), "guesses")
    tiles, before = browser.find_elements("css selector", "#confirm-grid .tile"), labelled(server)
    ActionChains(browser).move_to_element(tiles[1]).perform()
    started_to_type(browser, "confirm-typed")
    press(browser, "something")
    ActionChains(browser).move_to_element(tiles[4]).perform()
    press(browser, " new", Keys.ENTER)
    wait_for(lambda: label_of(server, first[1][0]) == "something new", "the class of the one that was pointed at")
    assert labelled(server) == before + 2
    wait_for(lambda: sheet(browser), "the rest")
    wait_for(lambda: browser.switch_to.active_element.get_attribute("id") != "confirm-typed", "the keys again")
    assert complaints(browser) == []


def test_what_the_mouse_crosses_on_its_way_to_a_class_is_not_meant(browser: Any, server: Served) -> None:
    begin_to_confirm(browser, server)
    wait_for(lambda: sheet(browser), "guesses")
    tiles, before = browser.find_elements("css selector", "#confirm-grid .tile"), labelled(server)
    ActionChains(browser).move_to_element(tiles[3]).perform()
    browser.find_element("css selector", "#confirm-classes .class").click()
    assert "Point at a wrong one" in text(browser, "#confirm-said")
    assert labelled(server) == before
    row, button = sheet(browser)[3][0], browser.find_elements("css selector", "#confirm-classes .class")[-1]
    name = button.get_attribute("title")
    tiles[3].click()
    button.click()
    wait_for(lambda: label_of(server, row) == name, "the class of the one that was clicked")
    assert labelled(server) == before + 4


def test_a_list_that_was_used_does_not_keep_the_keys(browser: Any, server: Served) -> None:
    begin_to_confirm(browser, server)
    first = wait_for(lambda: sheet(browser), "guesses")
    name = classes(browser)[0]
    browser.execute_script("document.querySelector('#confirm-class').focus()")
    ActionChains(browser).move_to_element(browser.find_elements("css selector", "#confirm-grid .tile")[1]).perform()
    press(browser, "1")
    wait_for(lambda: label_of(server, first[1][0]) == name, "the class of the one that is pointed at")


def test_a_picture_that_cannot_be_looked_at_is_told_and_only_the_last_one_is_shown(browser: Any, server: Served) -> None:
    two_classes(browser, server)
    browser.execute_script(
        "const send = window.fetch.bind(window); window.fetch = (path, ...rest) =>"
        " String(path).startsWith('look') ? Promise.reject(new Error('no answer')) : send(path, ...rest)"
    )
    press(browser, Keys.ENTER)
    wait_for(lambda: "no answer" in text(browser, "#banner"), "that it is told")
    opened(browser, server)
    browser.execute_script(
        "const send = window.fetch.bind(window); window.late = [];"
        "window.fetch = async (path, ...rest) => { const answer = await send(path, ...rest);"
        " if (String(path).startsWith('look')) await new Promise((go) => window.late.push(go)); return answer; }"
    )
    first = shown(browser)
    press(browser, Keys.ENTER)
    label(browser)
    second = shown(browser)
    press(browser, Keys.ENTER)
    wait_for(lambda: browser.execute_script("return window.late.length") == 2, "both answers")
    browser.execute_script("window.late[1]()")
    wait_for(lambda: second in text(browser, "#look"), "the one that was asked for last")
    browser.execute_script("window.late[0]()")
    browser.execute_async_script("setTimeout(arguments[0])")
    assert first not in text(browser, "#look") and second in text(browser, "#look")


def test_a_sheet_stays_while_a_class_is_typed_for_one_of_it(browser: Any, server: Served) -> None:
    begin_to_confirm(browser, server)
    first = wait_for(lambda: sheet(browser), "guesses")
    tiles = browser.find_elements("css selector", "#confirm-grid .tile")
    ActionChains(browser).move_to_element(tiles[2]).perform()
    started_to_type(browser, "confirm-typed")
    press(browser, "something")
    elsewhere(server, first[0][0])
    wait_for(lambda: (state := server.ask("/state"))["believed"] == state["revision"], "votes with it")
    wait_for(lambda: done(browser, server), "what the other tab did")
    assert sheet(browser) == first
    press(browser, " new", Keys.ENTER)
    wait_for(lambda: label_of(server, first[2][0]) == "something new", "the class of the one that was pointed at")
    assert label_of(server, first[0][0]) == "elsewhere", "no guess takes the place of what was said elsewhere"
    wait_for(lambda: sheet(browser) and sheet(browser) != first, "the rest")


def test_a_key_for_a_sheet_that_another_tab_took_away_does_not_count(browser: Any, server: Served) -> None:
    begin_to_confirm(browser, server)
    first = wait_for(lambda: sheet(browser), "guesses")
    browser.execute_script(STILL)
    count = elsewhere(server, first[0][0])
    wait_for(lambda: "elsewhere" in text(browser, "#confirm-said"), "that all are guessed anew")
    press(browser, Keys.ENTER)
    wait_for(lambda: "did not count" in text(browser, "#confirm-said"), "that it is told")
    assert labelled(server) == count
    browser.execute_script("performance.now = () => 1e9")
    press(browser, Keys.ENTER)
    wait_for(lambda: labelled(server) > count, "the guesses that are seen")


def test_a_sheet_is_not_confirmed_over_what_the_page_has_not_heard_of(browser: Any, server: Served) -> None:
    begin_to_confirm(browser, server)
    first = wait_for(lambda: sheet(browser), "guesses")
    browser.execute_script(DEAF)
    count = elsewhere(server, first[0][0])
    press(browser, Keys.ENTER)
    wait_for(lambda: "elsewhere" in text(browser, "#confirm-said"), "that all are guessed anew")
    assert label_of(server, first[0][0]) == "elsewhere" and labelled(server) == count


def test_two_clicks_confirm_one_sheet(browser: Any, server: Served) -> None:
    begin_to_confirm(browser, server)
    wait_for(lambda: sheet(browser), "guesses")
    before = labelled(server)
    click = (
        "document.querySelector('#confirm-yes').dispatchEvent(new MouseEvent('click', {detail: arguments[0], bubbles: true}))"
    )
    browser.execute_script(click, 2)
    assert browser.execute_script("return document.querySelector('#confirm-grid').ariaBusy") != "true"
    browser.execute_script(click, 1)
    wait_for(lambda: labelled(server) > before, "the sheet")
