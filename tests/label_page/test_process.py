"""The verb as a process: a whole session by requests, kills at random moments, what is refused at the start."""

from __future__ import annotations

import csv
import json
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from paws.data.labels import read_labels
from tests.commands import Command
from tests.conftest import write_patterns
from tests.label_page.served import Served, reached, served, wait_for

TRUTH = {"d": "dots", "r": "rows", "s": "slope"}


def truth(name: str) -> str:
    return TRUTH[Path(name).name[0]]


def test_from_pictures_without_labels_to_predictions_and_bundle(tmp_path: Path, tiny_weights: Path) -> None:
    images = write_patterns(tmp_path)
    with served(tmp_path, tiny_weights) as server:
        for number in range(9):
            first = server.ask("/state")["next"][0]
            server.mark(first["row"], truth(first["name"]), f"action {number}")
        settled = wait_for(lambda: _ready(server), "votes of all pictures")
        assert settled["labelled"] == 9 and settled["measures"]["expected"] > 0.4 and not settled["problem"]
        sheet = wait_for(lambda: server.ask("/sheet?class=rows"), "a sheet")
        assert all(item["as"] == "rows" and item["label"] is None for item in sheet["items"])
        marks = [[item["row"], "label" if truth(item["name"]) == "rows" else "not", "rows"] for item in sheet["items"]]
        state = server.ask("/mark", {"id": "in bulk 1", "how": "bulk", "marks": marks})
        assert state["undoable"] == 10
        closely = server.ask(f"/look/{first['row']}")
        assert closely["label"] == truth(first["name"]) and closely["voters"] and closely["same"]
        assert set(server.ask("/again")) == {"doubtful", "copies"}
        left = next(each for each in server.ask("/state")["next"])
        server.ask("/mark", {"id": "of no class", "how": "chosen", "marks": [[left["row"], "none", None]]})
        server.ask("/finish", {"id": "finish 1", "what": "folders"})
        job = wait_for(lambda: _job(server), "the end of the fit")
        assert job["state"] == "done", job["text"]
    labels = {row.file: row.label for row in read_labels(tmp_path / "run/labels.csv")}
    assert len(labels) == state["labelled"]
    with open(tmp_path / "run/predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and {row["file"]: row["given"] for row in rows if row["given"]} == labels
    copied = list((tmp_path / "run/sorted").rglob("*.png"))
    assert (tmp_path / "run/sorted/_none" / left["name"]).is_file()
    assert len(copied) == 36 and len(list(images.rglob("*.png"))) == 36
    assert (tmp_path / "run/bundle/bundle.json").is_file()


def _ready(server: Served) -> dict[str, Any] | None:
    state = server.ask("/state")
    known = state["step"][0] == "ready" and state["believed"] == state["revision"] and state["measures"]["expected"]
    return state if known else None


def _job(server: Served) -> dict[str, Any] | None:
    job = server.ask("/state")["job"]
    return job if job["state"] != "running" else None


@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_lose_no_action_and_repeat_none(tmp_path: Path, tiny_weights: Path, kills: int) -> None:
    write_patterns(tmp_path, per_class=4)
    draw = random.Random(0)
    told: list[str] = []
    sent: list[str] = []
    for round_ in range(kills):
        with served(tmp_path, tiny_weights) as server:
            if sent and sent[-1] not in told:  # its answer was lost: the page asks again, under the same id
                server.mark(0, "again", sent[-1])
                told.append(sent[-1])
            _label_until_it_dies(server, draw, round_, told, sent)
        entries = [json.loads(line) for line in (tmp_path / "run/label/journal.jsonl").read_bytes().splitlines()[: len(sent)]]
        ids = [entry["id"] for entry in entries if "id" in entry]
        assert len(ids) == len(set(ids)), "an action is there twice"
        assert set(told) <= set(ids), "an action that was answered is not there"
    with served(tmp_path, tiny_weights) as server:
        state = wait_for(lambda: server.ask("/state"), "the state")
        assert state["revision"] == len(ids) + (state["revision"] - len(ids) > 0)
        for number in range(min(5, state["undoable"])):
            state = server.ask("/undo", {"id": f"undo it {number}", "revision": state["revision"]})
            assert state["undone"]


def _label_until_it_dies(server: Served, draw: random.Random, round_: int, told: list[str], sent: list[str]) -> None:
    stop = threading.Timer(draw.uniform(0.05, 1.0), server.process.send_signal, [signal.SIGKILL])
    stop.start()
    number = 0
    while True:
        id = f"round {round_}, {number}"
        sent.append(id)
        try:
            server.mark(draw.randrange(12), draw.choice(["cat", "dog"]), id)
        except Exception as error:
            assert reached(error), error
            break
        told.append(id)
        number += 1
    stop.join()


def test_what_is_wrong_is_told_before_a_page_is_opened(tmp_path: Path, command: Command) -> None:
    assert "not a folder" in command("label", tmp_path / "none", code=2)
    (tmp_path / "empty").mkdir()
    assert "holds no images" in command("label", tmp_path / "empty", code=2)
    images = write_patterns(tmp_path, per_class=2, labelled=1)
    (tmp_path / "bad.csv").write_text("file,label\nnone.png,cat\n", encoding="utf-8")
    assert "none.png" in command("label", images, "-o", tmp_path / "run", "--labels", tmp_path / "bad.csv", code=2)
    assert "--accuracy" in command("label", images, "-o", tmp_path / "run", "--accuracy", "2", code=2)
