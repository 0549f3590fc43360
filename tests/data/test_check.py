"""Everything that is wrong is told at once, before anything runs."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paws.data.check import check_folder, misspelled, remember
from paws.data.folder import TICK
from paws.errors import InputError
from tests.conftest import write_patterns
from tests.digits_runs import wait_until

LABELS = "file,label\nda.png,dots\ndb.png,dots\nra.png,rows\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images; dü-0 to dü-2 are dots, rü-0 to rü-2 rows."""
    images = write_patterns(tmp_path, per_class=3, labelled=2, classes=("dots", "rows"))
    for path in list(images.glob("deep er/*")):
        path.rename(images / path.name)
    (images / "deep er").rmdir()
    for path in images.iterdir():
        path.rename(images / f"{path.name[0]}{'abc'[int(path.name[3])]}.png")
    return images


def labels(folder: Path, text: str = LABELS, name: str = "labels.csv") -> Path:
    path = folder.parent / name
    path.write_text(text)
    return path


def test_a_good_folder(folder: Path) -> None:
    checked = check_folder(folder, labels(folder))
    assert list(checked.files.names) == ["da.png", "db.png", "dc.png", "ra.png", "rb.png", "rc.png"]
    assert checked.files.labels.tolist() == [0, 0, -1, 1, -1, -1]
    assert (checked.counts, checked.sparse, checked.unreadable) == ({"dots": 2, "rows": 1}, ["rows"], {})
    assert (checked.test == -1).all()


def test_problems_of_labels_and_images_come_together(folder: Path) -> None:
    (folder / "broken.png").write_text("text")
    (folder / "notes.txt").write_text("text")
    path = labels(folder, LABELS + "gone.png,dots\nda.png,rows\nnotes.txt,rows\n")
    with pytest.raises(InputError) as caught:
        check_folder(folder, path)
    for part in ("gone.png does not exist", "da.png is 'rows'", "notes.txt is not an image", "broken.png", "--skip-broken"):
        assert part in str(caught.value)


def test_a_dash_is_no_class(folder: Path) -> None:
    with pytest.raises(InputError, match="2 images of a class '-', which stands for no label") as caught:
        check_folder(folder, labels(folder, "file,label\nda.png,-\ndb.png,-\nra.png,rows\n"))
    assert "give the class another name, or leave the label empty" in str(caught.value)


def test_broken_images_are_left_out_when_asked(folder: Path) -> None:
    (folder / "db.png").write_bytes(b"")
    checked = check_folder(folder, labels(folder), skip_broken=True)
    assert len(checked.files) == 5
    assert list(checked.unreadable) == ["db.png"]
    assert checked.counts == {"dots": 1, "rows": 1}


def test_a_class_whose_images_are_broken_is_an_error(folder: Path) -> None:
    (folder / "ra.png").write_bytes(b"")
    with pytest.raises(InputError, match="no labelled image of 'rows' can be read"):
        check_folder(folder, labels(folder), skip_broken=True)


@pytest.mark.parametrize("skip", [False, True])
def test_a_folder_of_which_more_than_half_is_broken_is_the_wrong_one(folder: Path, skip: bool) -> None:
    for name in ("dc.png", "db.png", "rb.png", "rc.png"):
        (folder / name).write_text("text")
    with pytest.raises(InputError, match="4 of 6 images cannot be read, too many"):
        check_folder(folder, labels(folder), skip_broken=skip)


def test_labels_to_test_on(folder: Path) -> None:
    test = labels(folder, "file,label\nrb.png,rows\ndc.png,dots\n", "test.csv")
    assert check_folder(folder, labels(folder), test=test).test.tolist() == [-1, -1, 0, -1, 1, -1]
    bad = labels(folder, "file,label\nra.png,rows\nrb.png,stars\ndc.png,dots\n", "bad.csv")
    with pytest.raises(InputError, match="'stars'"):
        check_folder(folder, labels(folder), test=bad)
    both = labels(folder, "file,label\nra.png,rows\ndc.png,dots\n", "both.csv")
    with pytest.raises(
        InputError, match=r"1 image\(s\) are labelled for training too; leave them out of one of the two:\n  ra.png"
    ):
        check_folder(folder, labels(folder), test=both)


def test_files_that_were_read_once_are_not_read_again_until_they_change(folder: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    (folder / "db.png").write_bytes(b"")
    for path in folder.iterdir():
        wait_until(lambda path=path: time.time_ns() > path.stat().st_ctime_ns + TICK, "a time that tells changes apart")
    remember(known, check_folder(folder, labels(folder), skip_broken=True))
    rows = json.loads(known.read_text())
    rows["dc.png"][1]["fault"] = "made up"
    known.write_text(json.dumps(rows))

    def unreadable() -> list[str]:
        return list(check_folder(folder, labels(folder), skip_broken=True, known=[tmp_path / "none.json", known]).unreadable)

    assert unreadable() == ["db.png", "dc.png"], "not read again"
    status = os.stat(folder / "rc.png")
    (folder / "rc.png").write_bytes(b"x" * status.st_size)
    os.utime(folder / "rc.png", ns=(status.st_atime_ns, status.st_mtime_ns))  # of equal size and time
    assert unreadable() == ["db.png", "dc.png", "rc.png"]


def test_what_is_passed_over_and_which_classes_are_lost_is_told(folder: Path) -> None:
    for name in ("cat", "fox"):
        (folder / name).mkdir()
    for name in ("da.png", "db.png"):
        (folder / name).rename(folder / "cat" / name)
    for name in ("fox/a.cr2", "fox/b.cr2", "notes.txt"):
        (folder / name).write_text("text")
    notes = check_folder(folder, labels(folder, "file,label\ncat/da.png,x\nra.png,y\n")).notes()
    assert notes == ["3 files were passed over: .cr2 2, .txt 1"]
    (folder / "dog").mkdir()
    (folder / "ra.png").rename(folder / "dog" / "ra.png")
    assert check_folder(folder, None).notes()[1] == "no image in the folder fox, so no such class"


def test_the_range_of_images_of_more_than_8_bits_is_that_of_the_folder(folder: Path, tmp_path: Path) -> None:
    for name, white in (("da.png", 500), ("db.png", 3000)):
        Image.fromarray(np.array([[7, white]], np.uint16)).save(folder / name)
    checked = check_folder(folder, labels(folder))
    assert checked.values == (0, 4095)
    told = "2 images have more than 8 bits and values 7 to 3000: 0 is taken for black and 4095 for white, in new images too"
    assert checked.notes() == [told]
    remember(tmp_path / "known.json", checked)
    assert check_folder(folder, labels(folder), known=[tmp_path / "known.json"]).notes() == [told]


def test_copies_among_labels_test_labels_and_the_rest_are_named(folder: Path) -> None:
    for name in ("db.png", "ra.png", "rb.png", "dc.png"):
        shutil.copy(folder / "da.png", folder / name)
    test = labels(folder, "file,label\nrb.png,dots\nrc.png,rows\n", "test.csv")
    checked = check_folder(folder, labels(folder), test=test)
    assert checked.groups.tolist() == [0, 0, 0, 0, 0, 1]
    assert checked.notes() == [
        "2 labelled images are copies of others; copies are held out together (db.png is da.png, ra.png is da.png)",
        "1 test images are copies of labelled ones: the test figure is too good (rb.png is da.png)",
        "1 copies have another label than their first:\n  da.png is 'dots', its copy ra.png is 'rows'",
        "1 image without a label is a copy of labelled ones",
    ]


def test_a_class_that_may_be_a_slip_of_the_keyboard_is_named(folder: Path) -> None:
    for name in ("rd.png", "re.png"):
        shutil.copy(folder / "ra.png", folder / name)
    rows = "da.png,stripe\nra.png,stripes\nrb.png,stripes\nrc.png,stripes\n"
    notes = check_folder(folder, labels(folder, "file,label\n" + rows)).notes()
    assert "the class 'stripe' (1 label) is spelled almost like 'stripes' (3): correct it if it is a slip" in notes


@pytest.mark.parametrize(
    "counts",
    [
        {"mouse": 1, "moose": 1},  # neither is the usual one
        {"house": 2, "horse": 9},  # words of their own
        {"stripe": 4, "stripes": 30},  # nobody slips four times
        {"Cat": 1, "cat": 9},  # told already
    ],
)
def test_no_slip_is_seen_where_there_need_be_none(counts: dict[str, int]) -> None:
    assert misspelled(counts) == []
