"""What tests do in the labelling page, as a person does it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.chrome import screen
from tests.label_page.served import Served, wait_for
from tests.label_page.test_process import truth

ActionChains = pytest.importorskip("selenium.webdriver.common.action_chains").ActionChains
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

HOLD = """
const send = window.fetch.bind(window), held = new Promise((resolve) => { window.release = resolve; });
window.asked = [];
window.fetch = async (path, ...rest) => {
  window.asked.push(String(path));
  const answer = await send(path, ...rest);
  if (path === arguments[0]) await held;
  return answer;
};
"""  # a script: answers to one kind of request come when the test calls ``window.release()``


def opened(browser: Any, server: Served, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
    screen(browser, width, height, dark=dark)
    browser.get("about:blank")  # the page of a server that has ended asks on, and complains
    browser.get_log("browser")
    browser.get(server.address)
    wait_for(lambda: shown(browser), "the first picture")


def shown(browser: Any) -> str:
    """The name of the picture that is to be labelled, "" where there is none."""
    return browser.execute_script("return document.querySelector('#about .file')?.textContent ?? ''")  # type: ignore[no-any-return]


def press(browser: Any, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def text(browser: Any, selector: str) -> str:
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)  # type: ignore[no-any-return]


def classes(browser: Any) -> list[str]:
    return browser.execute_script("return [...document.querySelectorAll('#classes .class')].map((each) => each.title)")  # type: ignore[no-any-return]


def label(browser: Any) -> str:
    """Label the picture that is shown, by a key, or by its name where the class is new; returns the picture's name."""
    name = shown(browser)
    wanted, known = truth(name), classes(browser)
    if wanted in known:
        press(browser, str(known.index(wanted) + 1))
    else:
        press(browser, "/")
        wait_for(lambda: browser.switch_to.active_element.get_attribute("id") == "typed", "the field")
        press(browser, wanted, Keys.ENTER)
    wait_for(lambda: shown(browser) not in ("", name), "the next picture")
    return name


def go(browser: Any, view: str) -> None:
    browser.execute_script("location.hash = arguments[0]", view)
    wait_for(lambda: browser.execute_script("return !document.getElementById(arguments[0]).hidden", view), view)


def labelled(server: Served) -> int:
    return int(server.ask("/state")["labelled"])


def complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def begin_to_confirm(browser: Any, server: Any) -> None:
    """Label until there are votes, and go to the view that confirms."""
    opened(browser, server)
    while labelled(server) < 9 or len(classes(browser)) < 3:
        label(browser)
    wait_for(lambda: server.ask("/state")["measures"]["expected"], "votes")
    go(browser, "confirm")


def sheet(browser: Any) -> list[tuple[int, str, str]]:
    """Number, name and guess of each picture that is to be confirmed; none while they are guessed anew."""
    return browser.execute_script(  # type: ignore[no-any-return]
        "return [...document.querySelectorAll('#confirm-grid:not([aria-busy=true]) .tile')].map((tile) =>"
        " [Number(tile.dataset.row), tile.querySelector('img').alt, tile.querySelector('b').textContent])"
    )
