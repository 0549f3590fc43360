"""The journal and the session over it: what was answered is there, once, whatever ended the process."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paws.errors import InputError
from paws.label_page.journal import Journal
from paws.label_page.session import Picture, Session

FILES = tuple(f"{i}.png" for i in range(12))


def session(path: Path) -> Session:
    return Session(FILES, Journal(path))


def seen(found: Session) -> tuple[list[Picture], list[str], dict[str, int], int]:
    return found.pictures, found.classes, found.counts(), found.labelled_count


def act(found: Session, draw: random.Random, number: int) -> None:
    """One random action."""
    row, name = draw.randrange(len(FILES)), draw.choice(["cat", "dog", "a “b”\\ü"])
    choice = draw.randrange(9)
    if choice < 4:
        found.mark([(row, "label", name)], "chosen", f"id {number}")
    elif choice == 4:
        found.mark([(row, "not", name), ((row + 1) % len(FILES), "label", name)], "bulk", f"id {number}")
    elif choice == 5:
        found.mark([(row, draw.choice(["none", "skip", "clear"]), None)], "chosen", f"id {number}")
    elif choice == 6:
        found.add_class(f"class {row}", f"id {number}")
    elif choice == 7 and found.classes:
        old, new = draw.choice(found.classes), draw.choice([*found.classes, f"named {row}"])
        if old != new:
            found.rename_class(old, new, f"id {number}")
    else:
        found.undo(f"id {number}")


@pytest.mark.parametrize("seed", range(5))
def test_a_journal_cut_anywhere_is_a_state_that_there_was(tmp_path: Path, seed: int) -> None:
    """A power cut may leave any part of the last line; the states before it are what a restart shows."""
    draw = random.Random(seed)
    live = session(tmp_path / "journal")
    states, sizes = [seen(session(tmp_path / "none"))], [0]
    for number in range(40):
        act(live, draw, number)
        states.append(seen(live))
        sizes.append((tmp_path / "journal").stat().st_size)
        states[-1] = (list(live.pictures), list(live.classes), live.counts(), live.labelled_count)
    whole = (tmp_path / "journal").read_bytes()
    for size in [*draw.sample(range(len(whole)), 40), len(whole)]:
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:size])
        last = max(i for i, at in enumerate(sizes) if at <= size)
        again = session(cut)
        assert seen(again) == states[last]
        assert cut.stat().st_size == sizes[last]  # what was torn is gone, so that the next line is whole
        again.mark([(0, "label", "later")], "chosen", "later")
        assert session(cut).pictures[0].label == "later"


def test_undo_goes_back_to_the_beginning_and_classes_with_it(tmp_path: Path) -> None:
    draw = random.Random(1)
    live = session(tmp_path / "journal")
    for number in range(30):
        act(live, draw, number)
    while live.undoable:
        assert live.undo(f"undo {live.revision}", live.revision)
    empty = session(tmp_path / "none")
    assert seen(live)[0] == empty.pictures and live.classes == [] and live.labelled_count == 0
    assert not live.undo("one more")


def test_an_action_that_is_asked_for_twice_happens_once(tmp_path: Path) -> None:
    live = session(tmp_path / "journal")
    for _ in range(2):
        live.mark([(0, "label", "cat")], "chosen", "a")
    live.mark([(0, "label", "dog")], "chosen", "b")
    for _ in range(2):
        live.undo("c")
    assert (live.revision, live.pictures[0].label, live.undoable) == (3, "cat", 1)
    again = session(tmp_path / "journal")
    again.mark([(0, "label", "dog")], "chosen", "b")
    assert again.pictures[0].label == "cat"


def test_a_class_is_renamed_and_two_are_made_one(tmp_path: Path) -> None:
    live = session(tmp_path / "journal")
    live.mark([(0, "label", "cat"), (1, "label", "dog"), (2, "not", "cat"), (3, "not", "cat"), (3, "not", "dog")], "bulk", "a")
    for _ in range(2):  # the answer was lost: once more
        live.rename_class("cat", "kitten", "b")
    assert live.classes == ["kitten", "dog"] and live.labelled() == {0: "kitten", 1: "dog"}
    assert live.pictures[2].excluded == {"kitten"} and live.revision == 2
    live.rename_class("dog", "kitten", "c")
    assert live.classes == ["kitten"] and live.counts() == {"kitten": 2}
    assert live.pictures[2].excluded == set(), "it may have been a dog"
    assert live.pictures[3].excluded == {"kitten"}
    assert seen(session(tmp_path / "journal")) == seen(live)
    live.undo("d")
    live.undo("e")
    assert live.classes == ["cat", "dog"] and live.labelled() == {0: "cat", 1: "dog"} and live.pictures[2].excluded == {"cat"}
    for name, to in [("bird", "cat"), ("cat", "cat"), ("cat", " ")]:
        with pytest.raises(InputError):
            live.rename_class(name, to, "f")


def test_undo_of_a_page_that_shows_something_older_is_refused(tmp_path: Path) -> None:
    live = session(tmp_path / "journal")
    live.mark([(0, "label", "cat")], "chosen", "a")
    live.mark([(1, "label", "cat")], "chosen", "b")
    assert not live.undo("c", 1)
    assert live.undo("d", 2)
    assert [p.label for p in live.pictures[:2]] == ["cat", None]


def test_what_cannot_be_a_mark_is_refused_and_not_written(tmp_path: Path) -> None:
    live = session(tmp_path / "journal")
    for marks, how in [
        ([(99, "label", "cat")], "chosen"),
        ([(-1, "label", "cat")], "chosen"),
        ([(0, "label", None)], "chosen"),
        ([(0, "label", "  ")], "chosen"),
        ([(0, "label", "a" * 101)], "chosen"),
        ([(0, "label", "a\x1bb")], "chosen"),
        ([(0, "label", "-")], "chosen"),
        ([(0, "skip", "cat")], "chosen"),
        ([(0, "eat", "cat")], "chosen"),
        ([(0, "label", "cat")], "guessed"),
        ([], "chosen"),
    ]:
        with pytest.raises(InputError):
            live.mark(marks, how, "id")  # type: ignore[arg-type]
    assert (tmp_path / "journal").read_bytes() == b"" and live.revision == 0


def test_a_damaged_line_in_the_middle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"do":"class","class":"a","id":"1"}\nnonsense\n{"do":"undo","id":"2"}\n')
    with pytest.raises(InputError, match="line 2 is damaged"):
        Journal(path)


def test_a_journal_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "journal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="journal"):
        Journal(tmp_path / "journal")


def test_pictures_that_left_the_folder_are_counted_and_the_others_stay(tmp_path: Path) -> None:
    live = session(tmp_path / "journal")
    live.mark([(0, "label", "cat"), (1, "label", "dog")], "bulk", "a")
    fewer = Session(FILES[1:], Journal(tmp_path / "journal"))
    assert fewer.missing == {"0.png"} and fewer.labelled() == {0: "dog"} and fewer.counts() == {"cat": 0, "dog": 1}


WRITER = """
import sys
from pathlib import Path
from paws.label_page.journal import Journal
from paws.label_page.session import Session
files = [f"{i}.png" for i in range(12)]
session = Session(files, Journal(Path(sys.argv[1])))
start = session.revision
for number in range(start, start + 100000):
    session.mark([(number % 12, "label", f"class {number}")], "chosen", f"id {number}")
    print(number, flush=True)
"""


def test_kills_of_a_writing_process_lose_nothing_that_was_told(tmp_path: Path) -> None:
    draw = random.Random(0)
    path = tmp_path / "journal"
    writer = WRITER.replace("class {number}", "class {number % 5}")
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", writer, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(1, 40)):
                told = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
        told = int(rest[-1]) if rest else told
        entries = Journal(path).entries
        ids = [entry["id"] for entry in entries]
        assert ids == [f"id {number}" for number in range(len(ids))], "one is missing, or there twice"
        assert len(ids) > told
        assert json.loads(path.read_bytes().splitlines()[-1])["id"] == ids[-1]
