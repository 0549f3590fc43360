"""The application: who gets in, and what it does for those who do."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from paws.config.options import FitOptions
from paws.data.formats import find_images
from paws.data.labelled_folder import labelled_folder
from paws.data.labels import read_labels
from paws.label_page.answers import LARGEST
from paws.label_page.application import Page
from paws.label_page.bench import Bench
from paws.label_page.guard import Guard
from paws.label_page.journal import Journal
from paws.label_page.keys import keys_of
from paws.label_page.session import Session
from paws.label_page.worker import Place
from tests.conftest import draw, write_patterns

TOKEN, HOME = "secret", "http://127.0.0.1:8000"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A session over twelve pictures whose learner is not started."""
    images = write_patterns(tmp_path, per_class=4)
    names = tuple(sorted(str(path.relative_to(images)) for path in images.rglob("*.png")))
    (tmp_path / "run/label").mkdir(parents=True)
    found = Bench(Place(images, tmp_path / "run", names, FitOptions()))
    yield found
    found.session.journal.close()


@pytest.fixture
def stranger(bench: Bench) -> TestClient:
    return TestClient(Guard(Page(bench).app(), TOKEN, 8000), base_url=HOME, raise_server_exceptions=False)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A browser that opened the link; it says where its requests come from, as browsers do."""
    assert stranger.get("/", params={"token": TOKEN}).status_code == 200
    stranger.headers["origin"] = HOME
    return stranger


def post(client: TestClient, path: str, body: dict[str, Any], code: int = 200, **options: Any) -> dict[str, Any]:
    answer = client.post(path, json=body, **options)
    assert answer.status_code == code, answer.text
    return answer.json()  # type: ignore[no-any-return]


def mark(client: TestClient, *marks: list[Any], id: str = "", code: int = 200) -> dict[str, Any]:
    return post(client, "/mark", {"id": id or f"id {marks!r}"[:60], "how": "chosen", "marks": list(marks)}, code)


def test_nobody_gets_in_without_the_token(stranger: TestClient) -> None:
    for path in ("/", "/state", "/main.js", "/picture/0", "/labels.csv", "/?token=wrong", "/state?token=secret"):
        assert stranger.get(path).status_code == 403
    post_ = stranger.post("/mark", json={}, headers={"origin": HOME})
    assert post_.status_code == 403 and "set-cookie" not in post_.headers
    stranger.cookies.set("paws_label_8000", "wrong")
    assert stranger.get("/state").status_code == 403


def test_the_cookie_is_for_this_page_alone(stranger: TestClient) -> None:
    answer = stranger.get("/", params={"token": TOKEN})
    assert answer.headers["set-cookie"] == f"paws_label_8000={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert stranger.get("/state").json()["total"] == 12


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8000.evil.example"]
)
def test_another_name_for_this_machine_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/state", headers={"host": host}).status_code == 403
    assert client.get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8001", "https://127.0.0.1:8000", ""])
def test_requests_of_other_pages_are_refused(client: TestClient, bench: Bench, origin: str) -> None:
    body = {"id": "12345678", "how": "chosen", "marks": [[0, "label", "cat"]]}
    post(client, "/mark", body, 200)
    for path in ("/mark", "/undo", "/class", "/finish", "/export", "/import", "/try"):
        assert client.post(path, json=body, headers={"origin": origin}).status_code == 403
    assert client.get("/state", headers={"origin": origin}).status_code == 403
    del client.headers["origin"]
    assert client.post("/undo", json=body).status_code == 403, "what changes something says where it comes from"
    assert bench.session.revision == 1


def test_no_path_leads_out(client: TestClient) -> None:
    outside = ("/picture/../../etc/passwd", "/picture/%2e%2e%2fetc", "/../pyproject.toml", "/page/main.js")
    for path in (*outside, "/picture/-1", "/picture/99"):
        assert client.get(path).status_code == 404
    assert client.get("/main.js").headers["content-type"].startswith("text/javascript")


def test_a_label_is_on_the_disk_when_it_is_answered(client: TestClient, bench: Bench) -> None:
    state = mark(client, [0, "label", " big  cat "], [1, "label", "dog"])
    assert (state["revision"], state["labelled"]) == (1, 2)
    assert state["classes"] == [{"name": "big cat", "count": 1, "key": "1"}, {"name": "dog", "count": 1, "key": "2"}]
    assert {each["row"] for each in state["next"]}.isdisjoint({0, 1})
    assert b"big cat" in bench.session.journal.path.read_bytes()
    bench.labels.write()
    assert [row.label for row in read_labels(bench.place.run / "labels.csv")] == ["big cat", "dog"]
    state = post(client, "/undo", {"id": "undo 1234", "revision": state["revision"]})
    assert state["undone"] and state["labelled"] == 0
    bench.labels.write()
    assert not (bench.place.run / "labels.csv").exists(), "a table without a row is none that paws fit takes"


def test_marks_for_an_older_page_are_not_made(client: TestClient, bench: Bench) -> None:
    seen = mark(client, [0, "label", "cat"])["revision"]
    mark(client, [1, "label", "dog"])
    body = {"id": "a sheet of before", "how": "bulk", "marks": [[1, "label", "cat"], [2, "label", "cat"]], "revision": seen}
    state = post(client, "/mark", body)
    assert not state["marked"] and state["labelled"] == 2 and bench.session.pictures[1].label == "dog"
    body |= {"id": "a sheet of now", "revision": state["revision"]}
    assert post(client, "/mark", body)["marked"]
    assert post(client, "/mark", body)["marked"], "asked for again, as the answer was lost"
    assert bench.session.labelled() == {0: "cat", 1: "cat", 2: "cat"}


def test_a_label_that_is_right_stays_so_until_it_is_another(client: TestClient, bench: Bench) -> None:
    mark(client, [0, "label", "cat"])
    mark(client, [0, "right", "dog"], id="of another label")
    assert not bench.session.pictures[0].sure
    mark(client, [0, "right", "cat"])
    journal = Journal(bench.session.journal.path)
    assert Session(bench.session.files, journal).pictures[0].sure, "after a restart, too"
    journal.close()
    mark(client, [0, "label", "dog"])
    assert not bench.session.pictures[0].sure
    post(client, "/undo", {"id": "undo 1234"})
    assert bench.session.pictures[0].sure
    assert "no mark" in mark(client, [0, "right", None], id="of no label", code=422)["error"]


def test_what_is_asked_about_pictures_is_told_with_the_state(client: TestClient) -> None:
    mark(client, [1, "label", "dog"])
    told = client.get("/state?at=1,7,99,-1,x").json()["at"]
    assert [(each["row"], each["label"]) for each in told] == [(1, "dog"), (7, None)]
    assert client.get("/state").json()["at"] == []


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["boots", "A", "a", "0", "7", "x", "g"], ["1", "a", "2", "0", "7", "3", "4"]),
        ([], []),
        ([f"class {i}" for i in range(32)], [*"123456789abcdefhijklmopqrstvwyz", ""]),
    ],
)
def test_keys_of_classes(names: list[str], keys: list[str]) -> None:
    assert keys_of(names) == dict(zip(names, keys, strict=True))


def test_classes_are_renamed_and_merged(client: TestClient) -> None:
    mark(client, [0, "label", "cat"], [1, "label", "dog"])
    assert post(client, "/rename", {"id": "rename 1", "name": "cat", "to": " big  cat "})["classes"][0]["name"] == "big cat"
    merged = post(client, "/rename", {"id": "rename 2", "name": "dog", "to": "big cat"})
    assert merged["classes"] == [{"name": "big cat", "count": 2, "key": "1"}]
    assert "no class 'dog'" in post(client, "/rename", {"id": "rename 3", "name": "dog", "to": "cat"}, 422)["error"]
    assert post(client, "/rename", {"id": "rename 4", "name": "big cat"}, 422)["error"]


def test_two_tabs_see_the_same_and_do_not_undo_each_other(client: TestClient) -> None:
    first = mark(client, [0, "label", "cat"], id="of tab one")
    second = mark(client, [1, "label", "dog"], id="of tab two")
    refused = post(client, "/undo", {"id": "undo of one", "revision": first["revision"]})
    assert not refused["undone"] and refused["labelled"] == 2 and refused["version"] >= second["version"]
    again = mark(client, [1, "label", "dog"], id="of tab two")  # its answer was lost
    assert again["revision"] == 2


NO_ACTIONS: list[dict[str, Any]] = [
    {},
    {"id": "12345678"},
    {"id": "12345678", "how": "chosen", "marks": [[0, "label"]]},
    {"id": "x", "how": "chosen", "marks": [[0, "label", "cat"]]},
]


@pytest.mark.parametrize("body", NO_ACTIONS)
def test_what_is_no_action_is_refused(client: TestClient, bench: Bench, body: dict[str, Any]) -> None:
    assert "error" in post(client, "/mark", body, 400)
    assert client.post("/mark", content=b"[").status_code == 400
    assert client.post("/mark", content=b"[]").status_code == 400
    assert bench.session.revision == 0


def test_names_that_are_html_stay_text(client: TestClient) -> None:
    state = mark(client, [0, "label", "<img src=x onerror=alert(1)>"])
    assert state["classes"][0]["name"] == "<img src=x onerror=alert(1)>"  # JSON; the page makes text of it
    assert client.get("/state").headers["content-type"] == "application/json"


def test_pictures_are_small_jpegs_and_one_that_disappears_is_told(client: TestClient, bench: Bench) -> None:
    answer = client.get("/picture/0?size=large")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "JPEG" and max(image.size) <= 1200
    row = client.get("/state").json()["next"][0]["row"]
    (bench.place.images / bench.session.files[row]).unlink()
    gone = client.get(f"/picture/{row}")
    assert gone.status_code == 404 and "not there any more" in gone.json()["error"]
    assert row not in [each["row"] for each in client.get("/state").json()["next"]]
    (bench.place.images / bench.session.files[3]).write_bytes(b"no picture")
    assert client.get("/picture/3").status_code == 404


def test_uploads_are_bounded(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(LARGEST // 1_000_000 + 2):
            yield bytes(1_000_000)

    assert client.post("/try", content=endless()).status_code == 413


def test_labels_of_label_studio_come_in_as_one_action(client: TestClient, bench: Bench) -> None:
    bench.take({bench.session.files[0]: "cat", bench.session.files[5]: "dog"}, "import 1")
    tasks = post(client, "/export", {"id": "12345678"})
    assert "label-studio.json" in tasks["text"]
    exported = (bench.place.run / "label-studio.json").read_bytes()
    post(client, "/undo", {"id": "undo 1234", "revision": 1})
    answer = client.post("/import", content=exported)
    assert answer.json()["text"].startswith("2 labels") and bench.session.labelled() == {0: "cat", 5: "dog"}
    assert client.post("/import", content=b"{").status_code == 422


def test_a_page_waits_until_there_is_something_new(client: TestClient) -> None:
    now = client.get("/state").json()["version"]
    assert client.get(f"/state?after={now - 1}").json()["version"] >= now


def test_any_name_of_a_file_can_be_shown_labelled_and_fitted(tmp_path: Path) -> None:
    images = write_patterns(tmp_path, per_class=1)
    odd = [os.fsdecode(b"\xff byte.png"), ' "quoted", name.png', "two\nlines.png", "=1+1.png"]
    for name in odd:
        draw("dots", 1).save(images / name)
    names = tuple(find_images(images))
    (tmp_path / "run/label").mkdir(parents=True)
    bench = Bench(Place(images, tmp_path / "run", names, FitOptions()))
    client = TestClient(Guard(Page(bench).app(), TOKEN, 8000), base_url=HOME, headers={"origin": HOME})
    client.get("/", params={"token": TOKEN})
    rows = [names.index(name) for name in odd]
    state = mark(client, *[[row, "label", "a" if row == rows[0] else "b"] for row in rows], id="all of them")
    assert state["labelled"] == 4 and client.get(f"/look/{rows[0]}").json()["name"] == odd[0]
    bench.labels.write()
    found = labelled_folder(images, bench.place.run / "labels.csv")
    assert {name for name, y in zip(found.names, found.labels.tolist(), strict=True) if y >= 0} == set(odd)
    bench.session.journal.close()
    again = Session(names, Journal(bench.session.journal.path))
    assert set(again.labelled()) == set(rows)
    again.journal.close()


def test_a_link_from_elsewhere_asks_once_more_and_shows_nothing(stranger: TestClient) -> None:
    follows = {"sec-fetch-site": "cross-site"}
    answer = stranger.get("/?view=again", headers=follows)
    assert answer.status_code == 403 and "url=/?once&view=again" in answer.text
    assert "view=<" not in stranger.get("/?view=<script>", headers=follows).text
    assert "refresh" not in stranger.get("/?once&view=again", headers=follows).text, "not for ever"
    assert "refresh" not in stranger.get("/state", headers=follows).text
