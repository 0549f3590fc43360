"""Labels from other programs and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paws.errors import InputError
from paws.label_page.formats import from_label_studio, label_config, read_all, read_any, to_label_studio
from tests.conftest import write_patterns

NAMES = ("a/1.png", "b/1.png", "b/ü 2.png", "3.png")


def test_label_studio_and_back() -> None:
    labels = {0: "cat", 2: "big dog", 3: "cat"}
    tasks = json.loads(json.dumps(to_label_studio(NAMES, labels, {1: ("dog", 0.75)})))
    assert tasks[1]["predictions"][0]["score"] == 0.75 and "annotations" not in tasks[1]
    found, problems = from_label_studio(tasks, NAMES)
    assert (found, problems) == ({NAMES[row]: label for row, label in labels.items()}, [])


def test_what_label_studio_itself_exports_is_read() -> None:
    def task(image: str, *choices: str, cancelled: bool = False) -> dict[str, object]:
        result = [{"type": "choices", "from_name": "x", "to_name": "y", "value": {"choices": list(choices)}}]
        return {"id": 1, "data": {"image": image}, "annotations": [{"was_cancelled": cancelled, "result": result}]}

    found, problems = from_label_studio(
        [
            task("/data/local-files/?d=photos/b/%C3%BC%202.png", "cat"),
            task("/data/upload/4/0a1b2c3d-3.png", "dog"),
            task("s3://bucket/somewhere/a/1.png", "dog", "cat"),
            task("https://example.org/b/1.png", "dog", cancelled=True),
            task("1.png", "dog"),  # two pictures have this name
            {"image": "b/1.png", "choice": "bird", "id": 5},  # JSON-MIN
            {"data": {"text": "no picture"}},
            "nonsense",
        ],
        NAMES,
    )
    assert found == {"b/ü 2.png": "cat", "3.png": "dog", "a/1.png": "dog", "b/1.png": "bird"}
    assert [problem.split(":")[0] for problem in problems] == ["task 5", "task 7", "task 8"]


def test_classes_are_escaped_in_the_interface() -> None:
    assert label_config(['a "b" <c>']).count("<Choice ") == 1
    assert "&lt;c&gt;" in label_config(['a "b" <c>'])


def test_labels_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    images = write_patterns(tmp_path, per_class=4, labelled=2)
    names = tuple(sorted(str(path.relative_to(images)) for path in images.rglob("*.png")))
    table = read_any(tmp_path / "labels.csv", images, names)
    assert sorted(set(table.values())) == ["dots", "rows", "slope"] and len(table) == 6
    tasks = to_label_studio(names, {names.index(name): label for name, label in table.items()}, {})
    (tmp_path / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    assert read_any(tmp_path / "tasks.json", images, names) == table
    for name, label in table.items():
        copy = tmp_path / "sorted" / label / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((images / name).read_bytes())
    assert read_any(tmp_path / "sorted", images, names) == table
    assert set(read_any(images, images, names).values()) == {"deep er"}


def test_what_is_wrong_with_labels_is_told(tmp_path: Path) -> None:
    images = write_patterns(tmp_path, per_class=2, labelled=1)
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="JSON"):
        read_any(tmp_path / "bad.json", images, ("a.png",))
    (tmp_path / "other.json").write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(InputError, match="Label Studio"):
        read_any(tmp_path / "other.json", images, ("a.png",))
    with pytest.raises(InputError, match="3 problem"):
        read_any(tmp_path / "labels.csv", images, ("a.png",))


def test_several_files_of_labels_agree_or_are_refused(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first.csv", "second.csv", "other.csv"))
    first.write_text("file,label\na.png,x\n")
    second.write_text("file,label\na.png,x\nb.png,y\n")
    other.write_text("file,label\nb.png,z\n")
    assert read_all([first, second], tmp_path, ("a.png", "b.png")) == {"a.png": "x", "b.png": "y"}
    assert read_all([], tmp_path, ("a.png",)) == {}
    with pytest.raises(InputError, match=r"other\.csv: b\.png is 'z', but 'y'"):
        read_all([second, other], tmp_path, ("a.png", "b.png"))
