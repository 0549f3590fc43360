"""Support sets: balanced, a pure function of the step, fair to few images; label rows equal to the published ones."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from paws.data.support import SupportSampler, support_labels
from paws.errors import InputError
from paws.losses import smoothed_one_hot

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = json.loads((GOLDEN / "c_labels_matrix.json").read_text())
RATIOS = [(7, 3, 5, 1), (10, 10, 4, 1), (12, 4, 6, 3), (9, 2, 1, 4)]  # classes, classes per batch, images per class, ranks


def make_labels(num_classes: int, per_class: int, unlabelled: int = 50, seed: int = 0) -> Tensor:
    labels = torch.cat([torch.arange(num_classes).repeat(per_class), torch.full((unlabelled,), -1)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def samplers(labels: Tensor, cpb: int, images: int, ranks: int, unique: bool = False, seed: int = 3):
    return [
        SupportSampler(
            labels,
            classes_per_batch=cpb,
            images_per_class=images,
            seed=seed,
            rank=rank,
            world_size=ranks,
            unique_classes=unique,
        )
        for rank in range(ranks)
    ]


@pytest.mark.parametrize(("classes", "cpb", "images", "ranks"), RATIOS)
@pytest.mark.parametrize("unique", [False, True])
def test_position_p_holds_window_class_p_mod_cpb(classes, cpb, images, ranks, unique):
    if unique and cpb * ranks > classes:
        pytest.skip("not enough classes")
    labels = make_labels(classes, 30)
    for step in range(12):
        for sampler in samplers(labels, cpb, images, ranks, unique):
            indices, window = sampler.batch(step)
            assert indices.dtype == window.dtype == torch.int64
            assert indices.shape == (cpb * images,) and window.shape == (cpb,)
            assert torch.equal(labels[indices], window.repeat(images))
            assert len(set(window.tolist())) == cpb


def test_all_classes_stand_in_order():
    sampler = samplers(make_labels(6, 5), 6, 2, 1)[0]
    assert all(torch.equal(sampler.batch(step)[1], torch.arange(6)) for step in range(5))


@pytest.mark.parametrize("unique", [False, True])
def test_a_pass_shows_each_class_once_and_passes_differ(unique):
    ranks, cpb, classes = 3, 2, 14
    team = samplers(make_labels(classes, 20), cpb, 4, ranks, unique)
    windows_per_pass = classes // (cpb * ranks) if unique else classes // cpb
    passes = []
    for class_pass in range(6):
        steps = range(class_pass * windows_per_pass, (class_pass + 1) * windows_per_pass)
        seen = [[c for step in steps for c in sampler.batch(step)[1].tolist()] for sampler in team]
        if unique:
            seen = [[c for own in seen for c in own]]
        assert all(own == seen[0] for own in seen)
        assert max(Counter(seen[0]).values()) == 1
        passes.append(tuple(seen[0]))
    assert len(set(passes)) == len(passes)
    assert set(sum(passes, ())) == set(range(classes))  # classes left over once come in other passes


def test_ranks_with_shared_classes_get_different_images():
    ranks, images = 4, 5
    team = samplers(make_labels(3, ranks * images), 3, images, ranks)
    for step in range(10):
        drawn = torch.cat([sampler.batch(step)[0] for sampler in team])
        assert len(drawn.unique()) == len(drawn)


@pytest.mark.parametrize("have", [1, 2, 3, 5, 7, 8, 19, 20, 21])
@pytest.mark.parametrize("unique", [False, True])
def test_few_images_repeat_evenly_for_each_rank_and_for_all(have, unique):
    ranks, images, cpb = 4, 5, 2
    labels = make_labels(8, have)
    for step in range(10):
        batches = [sampler.batch(step)[0].tolist() for sampler in samplers(labels, cpb, images, ranks, unique)]
        for drawn in [*batches, *([] if unique else [[i for batch in batches for i in batch]])]:
            for c in set(labels[drawn].tolist()):
                counts = Counter(i for i in drawn if labels[i] == c)
                needed = sum(counts.values())
                times = [counts[i] for i in (labels == c).nonzero().flatten().tolist()]
                assert set(times) <= {needed // have, -(-needed // have)}


def test_every_image_is_drawn_equally_often():
    labels = make_labels(2, 10)
    sampler = samplers(labels, 2, 3, 1)[0]
    counts = Counter(i for step in range(2000) for i in sampler.batch(step)[0].tolist())
    expected, deviation = 2000 * 0.3, (2000 * 0.3 * 0.7) ** 0.5
    assert len(counts) == 20 and all(abs(count - expected) < 5 * deviation for count in counts.values())


def test_batches_depend_on_step_and_seed_only():
    labels = make_labels(9, 12)
    one, other, reseeded = (samplers(labels, 3, 4, 1, seed=seed)[0] for seed in (1, 1, 2))
    forward = [one.batch(step) for step in range(20)]
    backward = [other.batch(step) for step in reversed(range(20))][::-1]
    assert all(torch.equal(a, b) for x, y in zip(forward, backward, strict=True) for a, b in zip(x, y, strict=True))
    assert any(not torch.equal(forward[step][0], reseeded.batch(step)[0]) for step in range(5))
    state = torch.get_rng_state()
    one.batch(7)
    assert torch.equal(torch.get_rng_state(), state)


def test_mistakes_are_named():
    labels = make_labels(4, 3)
    with pytest.raises(InputError, match="classes_per_batch is 0"):
        samplers(labels, 0, 1, 1)
    with pytest.raises(InputError, match="images_per_class is -1"):
        samplers(labels, 1, -1, 1)
    with pytest.raises(InputError, match="classes_per_batch is 5, but there are 4 classes"):
        samplers(labels, 5, 1, 1)
    with pytest.raises(InputError, match=r"classes_per_batch is 2 on each of 3 ranks.* 4 classes"):
        samplers(labels, 2, 1, 3, unique=True)
    with pytest.raises(InputError, match=r"no labelled image: 2$"):
        samplers(labels[labels != 2], 1, 1, 1)
    with pytest.raises(InputError, match=r"no labelled image: owl$"):
        SupportSampler(labels, classes_per_batch=1, images_per_class=1, seed=0, names=["ant", "bee", "cat", "dog", "owl"])
    with pytest.raises(InputError, match="no image is labelled"):
        samplers(torch.full((5,), -1), 1, 1, 1)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
@pytest.mark.parametrize("kind", ["f64", "f32"])
def test_label_rows_equal_the_published_ones(case, kind):
    with np.load(GOLDEN / "c_labels_matrix.npz") as arrays:
        published = torch.from_numpy(arrays[f"{case['name']}/labels_{kind}"])
    cpb, ranks, unique = case["num_classes"], case["world_size"], case["unique_classes"]
    ours = support_labels(
        cpb,
        case["s_batch_size"],
        world_size=ranks,
        unique_classes=unique,
    )
    ours = smoothed_one_hot(ours, cpb * (ranks if unique else 1), case["smoothing"], published.dtype)
    if not unique:  # the published rows have columns for the other ranks' classes too, which do not exist: rows sum to > 1
        published = published[:, :cpb]
    torch.testing.assert_close(ours, published, rtol=1e-9 if kind == "f64" else 1e-6, atol=0)


@pytest.mark.parametrize("unique", [False, True])
def test_class_ids_follow_the_views(unique):
    cpb, images, views, ranks = 3, 2, 2, 4
    ids = support_labels(cpb, images, views, world_size=ranks, unique_classes=unique)
    assert ids.dtype == torch.int64
    expected = [
        position % cpb + (rank * cpb if unique else 0)
        for rank in range(ranks)
        for _ in range(views)
        for position in range(images * cpb)
    ]
    assert ids.tolist() == expected
