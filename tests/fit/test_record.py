"""fit.json: read back as it was written, and refused where it is not what this version wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paws.errors import InputError
from paws.fit.record import RECORD, Figure, FitRecord, NearCopy, Score, Threshold, read_record, write_record
from paws.fit.sentences import describe, frequencies_sentence, notes, verdict

TITLES = {"paws": "Ours", "other": "Theirs", "combination": "Both"}


def record(**more: Any) -> FitRecord:
    fields: dict[str, Any] = {
        "key": "k",
        "images": "/images",
        "labels": None,
        "settings": {"seed": 0},
        "backbone": {"name": "tiny"},
        "head": {},
        "classes": ("a", "b"),
        "counts": {"a": 2, "b": 2},
        "image_count": 9,
        "label_count": 4,
        "scores": (scored("paws", 0.75), scored("other", 0.5)),
        "chosen": "paws",
        "threshold": Threshold(value=0.9, provenance="cross_validated", count=4),
        "unreadable": {"ü.png": "no image"},
        "versions": {},
    }
    return FitRecord(**fields | more)


def scored(method: str, value: float | None) -> Score:
    if value is None:
        return Score(method=method)
    return Score(method=method, accuracy=Figure(value=value, provenance="cross_validated", count=4, interval=(0.3, 0.95)))


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path, record())
    assert read_record(tmp_path) == record()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 7}, r"fit\.json: is of format 7, and this version of paws reads 3; run the same paws fit again"),
        ({"version": None}, "is of format None"),
        ({"chosen": 3}, r"damaged \(chosen: "),
        ({"scores": [{"method": "paws", "accuracy": {"value": 2}}]}, r"damaged \(scores\.0\.accuracy\.value: "),
        ({"unknown": 1}, r"damaged \(unknown: "),
    ],
)
def test_another_version_and_damage_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / RECORD).write_text(json.dumps(record().model_dump(mode="json") | change), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_record(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "cannot be read"), ("{}", "is of format 1")])
def test_what_is_no_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=r"no fit\.json"):
        read_record(tmp_path)
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(InputError, match=message):
        read_record(tmp_path)


def test_words_follow_the_provenance() -> None:
    def words(**more: Any) -> str:
        return describe(Figure(value=0.5, count=1200, **more))

    assert words(provenance="cross_validated") == "1,200 labelled images, by models that did not see their labels"
    assert words(provenance="seen_in_training") == "1,200 labelled images, which training has seen"
    assert words(provenance="before_relabelling") == "1,200 labelled images, before labels were changed"
    assert words(provenance="cross_validated", images="test").startswith("1,200 images with test labels")
    assert Figure().before_relabelling() == Figure()


def test_why_a_method_is_in_use() -> None:
    combined = {"chosen": "combination", "weights": {"paws": 0.5, "other": 0.25}}
    rows = (scored("combination", 0.75), scored("paws", 0.5), scored("other", 0.6))
    found = record(scores=rows, **combined)
    assert verdict(found, TITLES) == (
        "Weights of the methods: Ours 0.50, Theirs 0.25, fitted to held-out labels. "
        "It names 75.0% of 4 held-out labels rightly, the best single method, Theirs, 60.0%."
    )
    partly = record(scores=rows, never_judged=("b",), **combined)
    assert "fixed beforehand, as not every class can be held out" in verdict(partly, TITLES)
    assert any("1 of 2 classes (b) has no label that can be held out" in note for note in notes(partly))
    assert verdict(record(settings={"model": "paws"}), TITLES) == "Ours was asked for."
    single = record(scores=(scored("paws", None), scored("combination", None)), **combined)
    assert "every class has a single label" in verdict(single.model_copy(update={"counts": {"a": 1, "b": 1}}), TITLES)
    assert "the labels of every class are on copies of one image and none can be held out" in verdict(single, TITLES)
    assert any(note.startswith("The labels of every class are on copies of one image, so none") for note in notes(single))
    assert any("no accuracy can be stated" in note for note in notes(single))


def test_frequencies_are_told_with_where_they_come_from() -> None:
    assert frequencies_sentence(record()) == ""
    found = record(frequencies={"a": 0.3, "b": 0.7})
    assert frequencies_sentence(found) == "class frequencies, estimated: b 70%, a 30%"
    assert "taken to be even" in frequencies_sentence(record(frequencies={"a": 0.5, "b": 0.5}, settings={"prior": "uniform"}))
    assert "taken to be even" in frequencies_sentence(record(frequencies={"a": 0.5, "b": 0.5}))


def test_changed_labels_are_noted_with_what_was_measured_before() -> None:
    former = record()
    outdated = Score(method="other", accuracy=former.scores[1].accuracy.before_relabelling())
    changed = record(labels_changed=2, scores=(former.scores[0], outdated), threshold=former.threshold.before_relabelling())
    assert "2 labels were changed since training. Measured before: threshold, the other methods." in notes(changed)
    assert verdict(changed, TITLES) == "Ours was chosen before labels were changed."


def test_images_that_look_almost_the_same_are_counted_and_named() -> None:
    pairs = [NearCopy(files=("1.png", "2.png"), labels=("a", "a"), across=True)]
    pairs += [NearCopy(files=("3.png", "4.png"), labels=("a", "b"), across=False)]
    pairs += [NearCopy(files=("5.png", "6.png"), labels=("a", "a"), across=False)]
    said = notes(record(near_copies=tuple(pairs)))
    assert said[-3:] == [
        "2 pairs of labelled images look almost the same and flatter the accuracy: 3.png and 4.png, 5.png and 6.png.",
        "1 pair of a labelled and a test image looks almost the same and flatters the test figure: 1.png and 2.png.",
        "1 of these pairs has two labels: 3.png is 'a' and 4.png is 'b'.",
    ]
