"""labels.csv of a session: what somebody else wrote there is not lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from paws.errors import InputError
from paws.label_page.journal import Journal
from paws.label_page.labels_file import LabelsFile
from paws.label_page.session import Session
from paws.runs.folder import claim
from tests.commands import Command
from tests.conftest import draw

NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, two of them labelled."""
    for name in NAMES:
        picture(tmp_path / "im" / name)
    session(tmp_path).mark([(0, "label", "x"), (1, "label", "y")], "chosen", "1")
    return tmp_path


def picture(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    draw("dots", 0).save(path)


def session(folder: Path) -> Session:
    (folder / "label").mkdir(exist_ok=True)
    return Session(NAMES, Journal(folder / "label/journal.jsonl"))


def table(folder: Path) -> LabelsFile:
    """As the page has it at its start."""
    return LabelsFile(folder / "labels.csv", folder / "im", session(folder), threading.RLock(), lambda: None)


def test_a_table_that_was_edited_between_two_sessions_is_kept_until_it_is_taken_over(folder: Path) -> None:
    table(folder).write()
    path = folder / "labels.csv"
    path.write_text(path.read_text().replace("b.png,y", "b.png,z"))
    edited = path.read_bytes()
    with pytest.raises(InputError, match=r"labels\.csv was written or edited by somebody else.*--labels"):
        table(folder).write()
    assert path.read_bytes() == edited
    session(folder).mark([(1, "label", "z")], "import", "2")  # what --labels does
    again = table(folder)
    again.taken = True
    again.write()
    table(folder).write()
    path.write_text("file,label\na.png,x\n")  # a label was taken out
    with pytest.raises(InputError, match="somebody else"):
        again.write()


def test_a_table_that_a_killed_session_left_behind_is_its_own(folder: Path) -> None:
    table(folder).write()
    session(folder).mark([(2, "label", "x"), (0, "clear", None)], "chosen", "2")  # killed before the table was written
    table(folder).write()
    assert (folder / "labels.csv").read_text() == "file,label\nb.png,y\nc.png,x\n"
    for row, id in ((1, "3"), (2, "4")):
        session(folder).mark([(row, "clear", None)], "chosen", id)
    table(folder).write()
    assert not (folder / "labels.csv").exists()


def test_a_table_of_somebody_is_not_removed_where_nothing_is_labelled_yet(tmp_path: Path) -> None:
    picture(tmp_path / "im/a.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,mine\n")
    with pytest.raises(InputError, match="somebody else"):
        table(tmp_path).write()
    assert (tmp_path / "labels.csv").read_text() == "file,label\na.png,mine\n"


def test_a_refused_session_leaves_nothing_behind(tmp_path: Path, command: Command) -> None:
    picture(tmp_path / "im/a.png")
    (run := tmp_path / "run").mkdir()
    (run / "labels.csv").write_text("file,label\na.png,mine\n")
    claim(run, "fit")
    refused = ("label", tmp_path / "im", "-o", run, "--no-browser")
    assert "somebody else" in " ".join(command(*refused, code=2).split())
    assert {path.name for path in run.iterdir()} == {"labels.csv", ".paws-run"}
    session(run).mark([(0, "label", "x")], "chosen", "1")
    (run / "label/labels.sha256").write_text("none\n")
    kept = (run / "label/journal.jsonl").read_bytes()
    command(*refused, code=2)
    assert (run / "label/journal.jsonl").read_bytes() == kept, "of a session that was there before, nothing is taken away"
