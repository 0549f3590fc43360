"""Label splits: the published formats, stratified draws, and every way a file can be wrong."""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from paws.data.splits import check_disjoint, draw_validation, labelled, only_labelled, read_split, write_split
from paws.errors import InputError

LABELS = torch.tensor([0, 1, 2] * 10 + [-1] * 5)[torch.randperm(35, generator=torch.Generator().manual_seed(0))]
NAMES = [f"n0{c}/n0{c}_{i}.JPEG" for c in range(3) for i in range(4)]
NAME_LABELS = torch.arange(3).repeat_interleave(4)


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_indices_keep_the_order_of_the_file(tmp_path):
    known = (LABELS >= 0).nonzero().flatten().tolist()[::-1]
    found = labelled(LABELS, file=write(tmp_path / "s.txt", *known, ""))
    assert found.dtype == torch.int64 and found.tolist() == known


def test_names_keep_the_order_of_the_file(tmp_path):
    file = write(tmp_path / "s.txt", "n02_1.JPEG", "n00_3.JPEG", "n01/n01_0.JPEG")
    assert labelled(NAME_LABELS, file=file, names=NAMES).tolist() == [9, 3, 4]


@pytest.mark.parametrize("per_class", [1, 4, 10])
def test_so_many_of_each_class(per_class):
    found = labelled(LABELS, per_class=per_class, seed=5)
    assert Counter(LABELS[found].tolist()) == dict.fromkeys(range(3), per_class)
    assert found.tolist() == sorted(set(found.tolist()))
    assert torch.equal(found, labelled(LABELS, per_class=per_class, seed=5))


def test_draws_depend_on_the_seed():
    draws = {tuple(labelled(LABELS, per_class=3, seed=seed).tolist()) for seed in range(10)}
    assert len(draws) == 10


@pytest.mark.parametrize(("fraction", "each"), [(0.001, 1), (0.1, 1), (0.25, 2), (0.29, 3), (1.0, 10)])
def test_a_share_of_each_class_at_least_one(fraction, each):
    assert Counter(LABELS[labelled(LABELS, fraction=fraction)].tolist()) == dict.fromkeys(range(3), each)


def test_without_a_choice_all_known_labels_count():
    assert torch.equal(labelled(LABELS), (LABELS >= 0).nonzero().flatten())


def test_validation_images_are_others_of_every_class():
    chosen = labelled(LABELS, per_class=7, seed=1)
    held_out = draw_validation(LABELS, chosen, 3, seed=1)
    assert Counter(LABELS[held_out].tolist()) == dict.fromkeys(range(3), 3)
    check_disjoint(chosen, held_out, "val.txt")
    with pytest.raises(InputError, match="class owl has 3 besides the labelled ones"):
        draw_validation(LABELS, chosen[LABELS[chosen] == 2], 4, classes=["dog", "cat", "owl"])
    with pytest.raises(InputError, match="class owl has 0 besides"):
        draw_validation(LABELS, (LABELS == 2).nonzero().flatten(), 1, classes=["dog", "cat", "owl"])


def test_only_labelled_hides_the_rest():
    chosen = labelled(LABELS, per_class=2)
    visible = only_labelled(LABELS, chosen)
    assert torch.equal((visible >= 0).nonzero().flatten(), chosen) and torch.equal(visible[chosen], LABELS[chosen])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0", "35"], "s.txt:2: index 35 is outside of the 35 training images"),
        (["-1"], "s.txt:1: index -1 is outside"),
        (["3", "", "4", "3"], "s.txt:4: 3 stands already in line 1"),
        ([], "s.txt: is empty"),
        (["3", "n00_1.JPEG"], "s.txt: holds image names, but this dataset has none"),
        (["1.5"], "s.txt: holds image names"),
    ],
)
def test_wrong_index_files(tmp_path, lines, message):
    with pytest.raises(InputError, match=re.escape(message)):
        labelled(LABELS, file=write(tmp_path / "s.txt", *lines))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("n00_9.JPEG", "s.txt:2: n00_9.JPEG: there is no such image"),
        ("n07_1.JPEG", "s.txt:2: n07_1.JPEG: there is no class 'n07'"),
        ("1.JPEG", "s.txt:2: 1.JPEG: there is no class ''"),
        ("n00/x.png", "s.txt:2: n00/x.png: there is no such image"),
        ("n01/n01_0.JPEG", "s.txt:2: n01/n01_0.JPEG stands already in line 1"),
    ],
)
def test_wrong_name_files(tmp_path, line, message):
    with pytest.raises(InputError, match=re.escape(message)):
        labelled(NAME_LABELS, file=write(tmp_path / "s.txt", "n01_0.JPEG", line), names=NAMES)


def test_other_mistakes_are_named(tmp_path):
    with pytest.raises(InputError, match="gone"):
        labelled(LABELS, file=tmp_path / "gone.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"binary\.txt: not a text file"):
        labelled(LABELS, file=tmp_path / "binary.txt")
    with pytest.raises(InputError, match="not several"):
        labelled(LABELS, per_class=1, fraction=0.5)
    with pytest.raises(InputError, match="per_class is 11, but class dog has 10 images"):
        labelled(LABELS, per_class=11, classes=["dog", "cat", "owl"])
    for fraction in (0.0, -0.1, 1.1):
        with pytest.raises(InputError, match="fraction"):
            labelled(LABELS, fraction=fraction)
    with pytest.raises(InputError, match="per_class is 0"):
        labelled(LABELS, per_class=0)
    unknown = int((LABELS < 0).nonzero()[0])
    with pytest.raises(InputError, match=f"image {unknown}, whose class is not known"):
        labelled(LABELS, file=write(tmp_path / "s.txt", unknown))


def test_a_class_without_a_label_is_named(tmp_path):
    some = [int((c == LABELS).nonzero()[0]) for c in (0, 2)]
    with pytest.raises(InputError, match=r"s\.txt: 1 of 3 classes have no labelled image: cat"):
        labelled(LABELS, file=write(tmp_path / "s.txt", *some), classes=["dog", "cat", "owl"])
    with pytest.raises(InputError, match="no labelled image: emu"):
        labelled(LABELS, per_class=1, classes=["dog", "cat", "owl", "emu"])


def test_validation_must_not_overlap():
    check_disjoint(torch.tensor([1, 2]), torch.tensor([3, 4]), "val.txt")
    with pytest.raises(InputError, match=r"val\.txt: 1 validation images are also labelled.*image 2"):
        check_disjoint(torch.tensor([1, 2]), torch.tensor([3, 2]), "val.txt")


def test_written_splits_read_back(tmp_path):
    chosen = torch.tensor([7, 0, 11])
    write_split(tmp_path / "new/indices.txt", chosen)
    assert torch.equal(read_split(tmp_path / "new/indices.txt", 12), chosen)
    write_split(tmp_path / "names.txt", chosen, NAMES)
    assert (tmp_path / "names.txt").read_text() == "n01_3.JPEG\nn00_0.JPEG\nn02_3.JPEG\n"
    assert torch.equal(read_split(tmp_path / "names.txt", 12, NAMES), chosen)
    other = ["red kite/a b.jpg", "red kite/sub/red kite_1.jpg", "ü/ü_1.jpg"]
    write_split(tmp_path / "other.txt", torch.arange(3), other)
    assert (tmp_path / "other.txt").read_text() == "red kite/a b.jpg\nred kite/sub/red kite_1.jpg\nü_1.jpg\n"
    assert torch.equal(read_split(tmp_path / "other.txt", 3, other), torch.arange(3))


def test_writing_never_overwrites(tmp_path):
    write(tmp_path / "s.txt", "precious")
    with pytest.raises(InputError, match=r"s\.txt: exists already"):
        write_split(tmp_path / "s.txt", torch.arange(3))
    assert (tmp_path / "s.txt").read_text() == "precious\n"
    with pytest.raises(InputError, match="cannot be written"):
        write_split(tmp_path / "s.txt" / "below.txt", torch.arange(3))
