"""MSN against loops over its equations; masks; what moves beside the network; its weights as a start."""

import math
from pathlib import Path

import pytest
import torch

from paws.config.cards import load_config
from paws.errors import InputError
from paws.methods import Method, method
from paws.methods.build import task_of
from paws.methods.msn import Msn, masked, msn_loss
from paws.train import evaluate, train
from tests.digits_runs import whole_and_killed

CARD = Path(__file__).parents[2] / "configs/digits_msn.yaml"
OPTIM = "optim={name: adamw, lr: 3.0e-3, epochs: 2, steps_per_epoch: 3, batch_size: 12}"
TINY = [OPTIM, "recipe.prototypes=7", "views.small=1", "log.every_steps=1"]


def config(run: Path, *more: str):
    return load_config(CARD, [*TINY, f"run_dir={run}", *more])


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def by_loops(anchors, targets, prototypes, tau: float, sharpening: float) -> tuple[float, float]:
    """Both terms of the paper's loss, from what each anchor and each target is near to."""
    rows, cross_entropy = [], 0.0
    for i, anchor in enumerate(anchors):
        target = targets[i % len(targets)]  # anchors stand view by view
        wanted = softmax([cosine(target, q) / (tau * sharpening) for q in prototypes])
        rows.append(softmax([cosine(anchor, q) / tau for q in prototypes]))
        cross_entropy -= sum(w * math.log(p) for w, p in zip(wanted, rows[-1], strict=True))
    mean = [sum(row[k] for row in rows) / len(rows) for k in range(len(prototypes))]
    return cross_entropy / len(anchors), sum(p * math.log(p) for p in mean)


@pytest.mark.parametrize(("tau", "sharpening"), [(0.1, 0.25), (0.5, 1.0)])
def test_the_loss_is_that_of_loops_over_the_equations(tau: float, sharpening: float) -> None:
    draws = torch.Generator().manual_seed(3)
    anchors, targets, prototypes = (torch.randn(n, 5, generator=draws, dtype=torch.float64) for n in (12, 4, 6))
    found = msn_loss(anchors, targets, prototypes, tau, sharpening)
    assert [float(part) for part in found] == pytest.approx(by_loops(anchors, targets, prototypes, tau, sharpening), rel=1e-9)


def test_gradients_go_to_anchors_and_prototypes_and_not_to_targets() -> None:
    draws = torch.Generator().manual_seed(3)
    anchors, targets, prototypes = (torch.randn(n, 5, generator=draws).requires_grad_() for n in (12, 4, 6))
    sum(msn_loss(anchors, targets, prototypes, 0.1, 0.25)).backward()
    assert anchors.grad is not None and prototypes.grad is not None and targets.grad is None


def test_a_mask_hides_its_share_of_patches_and_others_for_each_view() -> None:
    views = torch.ones(5, 2, 8, 8)
    found = masked(views, 4, 0.25, torch.Generator().manual_seed(0))
    patches = found.view(5, 2, 4, 2, 4, 2)
    assert torch.equal(patches, patches[:, :1, :, :1, :, :1].expand_as(patches)), "a patch is whole, in all channels"
    assert (found.mean((1, 2, 3)) == 0.75).all() and len({view.numpy().tobytes() for view in found}) == 5
    assert torch.equal(masked(views, 4, 0.0, torch.Generator()), views)


def test_a_step_shows_the_network_masked_and_small_views_and_the_average_the_whole_one(tmp_path: Path) -> None:
    settings = config(tmp_path)
    made = method("msn").build(settings, task_of(settings), torch.device("cpu"))
    assert isinstance(made, Msn) and not made.source.labels.numel()
    batch = next(made.source.batches(range(1)))
    seen = {}
    made.encoder = lambda views: seen.setdefault("anchors", (views, torch.randn(24, 128)))
    made.teacher = lambda view: seen.setdefault("target", (view, torch.randn(12, 128)))
    loss, metrics = made.step(batch)
    anchors, target = seen["anchors"][0], seen["target"][0]
    assert torch.equal(target, batch.views[0]) and torch.equal(anchors[1], batch.views[2])
    hidden = anchors[0] != batch.views[1]
    assert hidden.any() and (anchors[0][hidden] == 0).all()
    assert loss.item() == pytest.approx((metrics["cross_entropy"] + 5 * metrics["me_max"]).item())


def test_prototypes_learn_and_what_moves_beside_the_network_survives_a_kill(tmp_path: Path) -> None:
    result, state = whole_and_killed(config, tmp_path)
    assert result["recipe"] == "msn" and evaluate(tmp_path / "parts")["top1"] == result["top1"]
    made: Method = method("msn").build(config(tmp_path), task_of(config(tmp_path)), torch.device("cpu"))
    start, end, average = made.encoder.state_dict(), state["model"], state["method"]["teacher"]
    for name in ("prototypes", "head.fc1.weight"):
        assert not end[name].equal(start[name]) and not average[name].equal(end[name]) and not average[name].equal(start[name])


def test_more_patches_than_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipe.patches=9: a view of views.size=8 pixels has no room"):
        train(config(tmp_path / "run", "recipe.patches=9"), quiet=True)
    assert not (tmp_path / "run").exists()


def test_other_methods_begin_with_its_weights(tmp_path: Path) -> None:
    train(config(tmp_path / "msn"), quiet=True)
    more = [OPTIM, "support.images_per_class=2", f"model.init_from={tmp_path}/msn", f"run_dir={tmp_path}/tuned"]
    result = train(load_config(CARD.parent / "digits.yaml", [*more, "recipe={name: finetune}"]), quiet=True)
    assert result["recipe"] == "finetune"
