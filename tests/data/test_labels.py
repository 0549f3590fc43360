"""Labels of a person's own images: every way to write them down, and every mistake named at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from paws.data.labelled_folder import class_counts, labelled_folder
from paws.data.labels import frame_rows, read_labels
from paws.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for name in ("a.png", "b b.png", "deep/er/ü.png", "c.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name)
    (root / "notes.txt").write_text("not an image")
    return root


def write(tmp_path: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def labels_of(root: Path, path: Path | None) -> dict[str, str]:
    files = labelled_folder(root, path)
    return {name: files.classes[y] for name, y in zip(files.names, files.labels.tolist(), strict=True) if y >= 0}


WANTED = {"a.png": "cat", "b b.png": "dog, big", "deep/er/ü.png": "cat"}


@pytest.mark.parametrize(
    "text",
    [
        'file,label\na.png,cat\nb b.png,"dog, big"\ndeep/er/ü.png,cat\n',
        '\ufefffile,label\r\na.png,cat\r\n"b b.png","dog, big"\r\ndeep/er/ü.png,cat',
        "file;label;seen, by, whom\na.png;cat;\nb b.png;dog, big;me\ndeep/er/ü.png;cat;me\n",
        "label;who;file\ncat;me;a.png\ndog, big;me;b b.png\ncat;;deep/er/ü.png\n",
        "File\tLabel\n./a.png\tcat\nb b.png\tdog, big\ndeep\\er\\ü.png\tcat\n",
        '\r\nsep=;\r\nfile;label\r\na.png;cat\r\nb b.png;"dog, big"\r\ndeep/er/ü.png;cat\r\n',
        'file, label\na.png, cat\nb b.png, "dog, big"\ndeep/er/u\u0308.png, cat\na.png,cat\n',
    ],
    ids=[
        "plain",
        "bom-crlf-quotes",
        "commas-in-a-name",
        "semicolons-more-columns",
        "tabs-backslashes",
        "separator-named",
        "spaces-decomposed-repeated",
    ],
)
def test_every_way_to_write_a_csv_reads_the_same(folder: Path, tmp_path: Path, text: str) -> None:
    assert labels_of(folder, write(tmp_path, text)) == WANTED


def test_json_lines_and_absolute_paths(folder: Path, tmp_path: Path) -> None:
    text = f'{{"file": "{folder}/a.png", "label": "cat", "x": 1}}\n\n{{"file": "c.png", "label": 7}}\n'
    files = labelled_folder(folder, write(tmp_path, text, "labels.jsonl"))
    assert files.classes == ("7", "cat")
    assert class_counts(files) == {"7": 1, "cat": 1}
    assert (files.labels == -1).sum() == 2


def test_sub_folders_are_the_labels_and_loose_images_have_none(folder: Path) -> None:
    (folder / "cat").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "cat" / "x.png")
    assert labels_of(folder, None) == {"cat/x.png": "cat", "deep/er/ü.png": "deep"}


def test_a_loop_of_links_ends(folder: Path, tmp_path: Path) -> None:
    os.symlink(folder, folder / "deep" / "again")
    path = write(tmp_path, "file,label\na.png,cat\nc.png,dog\n")
    assert labels_of(folder, path) == {"a.png": "cat", "c.png": "dog"}


def test_all_problems_are_listed_at_once(folder: Path, tmp_path: Path) -> None:
    text = "file,label\na.png,cat\nmissing.png,dog\nnotes.txt,dog\na.png,dog\n../labels.csv,dog\n"
    with pytest.raises(InputError) as caught:
        labelled_folder(folder, write(tmp_path, text))
    message = str(caught.value)
    assert "line 3: missing.png does not exist" in message
    assert "line 4: notes.txt is not an image" in message
    assert "line 5: a.png is 'dog', but 'cat' on line 2" in message
    assert "line 6: ../labels.csv is not an image" in message


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("name,what\na.png,cat\n", "labels.csv", "must name the columns file and label"),
        ("file,label\n", "labels.csv", "holds no label"),
        ("\n", "labels.csv", "is empty; its first line must name the columns"),
        ('[{"file": "a.png", "label": "cat"}]', "labels.json", "looks like JSON; give a CSV, or JSON lines"),
        ("file,label\na.png,\n,cat\n", "labels.csv", "line 3: no file"),
        (b"file,label\n\xff.png,cat\n", "labels.csv", "UTF-8"),
        ("file,label\na.png,cat\nc.png,cat\n", "labels.csv", "only the class 'cat'"),
        ('{"file": "a.png"\n[1]\n', "labels.jsonl", r"(?s)line 1: .*line 2: not an object"),
        ('{"file": "a.png", "label": ["cat"]}', "labels.jsonl", r"line 1: the label \['cat'\] is no text"),
        (b"PK\3\4\0\0", "labels.xlsx", "labels.xlsx: is a spreadsheet or an archive, and no text; save the table as CSV"),
        ("sep=;\n\nname;label\n", "labels.csv", "must name the columns file and label, it reads 'name;label'"),
        ("\n\nsep=,\nfile,label\n,cat\n", "labels.csv", "line 5: no file"),
    ],
)
def test_unusable_labels_say_why(folder: Path, tmp_path: Path, text: str | bytes, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        labelled_folder(folder, write(tmp_path, text, name))


def test_a_missing_file_of_labels_and_an_empty_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; expected a table of labels"):
        read_labels(folder)
    with pytest.raises(InputError, match=r"\(--labels\) or make one with paws label"):
        labelled_folder(folder / "deep" / "er")
    with pytest.raises(InputError, match="absent"):
        read_labels(tmp_path / "absent.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        labelled_folder(tmp_path / "empty")
    with pytest.raises(InputError, match="not a folder"):
        labelled_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("head", ["filename,class", "image,category", "PATH,Target", "file,label,image,class"])
def test_common_names_of_columns_and_rows_without_a_label(folder: Path, tmp_path: Path, head: str) -> None:
    more = ",x,y" if head.count(",") > 1 else ""
    text = f"{head}\na.png,cat{more}\nb b.png,{more}\nc.png,dog{more}\n"
    assert labels_of(folder, write(tmp_path, text)) == {"a.png": "cat", "c.png": "dog"}


def test_several_files_and_names_relative_to_the_file_or_the_working_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(tmp_path, "file,label\nimages/a.png,cat\n", "first.csv")
    second = write(tmp_path / "images", "file,label\nimages/c.png,dog\n", "second.csv")  # relative to the working folder
    monkeypatch.chdir(tmp_path)
    files = labelled_folder(folder, [first, second])
    assert class_counts(files) == {"cat": 1, "dog": 1}
    second.write_text("file,label\na.png,dog\n")
    with pytest.raises(InputError, match=r"second\.csv line 2: a\.png is 'dog', but 'cat' on first\.csv line 2"):
        labelled_folder(folder, [first, second])


def test_near_names_are_suggested(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        labelled_folder(folder, write(tmp_path, "file,label\nü.png,cat\nbb.png,dog\nnothing.jpg,dog\nC,dog\nA.JPG,dog\n"))
    message = str(refused.value)
    assert "ü.png does not exist; did you mean deep/er/ü.png?" in message
    assert "bb.png does not exist; did you mean b b.png?" in message
    assert "C does not exist; did you mean c.png?" in message
    assert "A.JPG does not exist; did you mean a.png?" in message
    assert "nothing.jpg does not exist" in message and message.count("did you mean") == 4


def test_a_table_in_memory_is_a_label_file(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": ["a.png", "c.png", "b b.png"], "class": ["cat", 7, None]})
    files = labelled_folder(folder, frame_rows(frame))
    assert class_counts(files) == {"7": 1, "cat": 1}
    for kind in (None, "float32", object, "category"):
        frame["class"] = pandas.Series([1.0, 2.0, None], dtype=kind)
        assert class_counts(labelled_folder(folder, frame_rows(frame))) == {"1": 1, "2": 1}, kind
    with pytest.raises(InputError, match="the table must name the columns file and label, it reads x"):
        frame_rows(pandas.DataFrame({"x": []}))
