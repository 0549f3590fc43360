"""Optimisers against the published trajectories, parameter groups by hand, the schedule."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from paws.errors import InputError
from paws.models import build_encoder
from paws.optim import LARS, SGD, build_optimizer, parameter_groups, set_lr, trust_ratios, warmup_cosine

GOLDEN = Path(__file__).parent / "golden"
CASES = {case["name"]: case for case in json.loads((GOLDEN / "e_optim.json").read_text())}
ARRAYS = np.load(GOLDEN / "e_optim.npz")
TRAJECTORIES = [name for name in CASES if not name.startswith("sched")]
SCHEDULES = [name for name in CASES if name.startswith("sched")]
WEIGHTS, PLAIN, HEAVY = ["w0", "w1", "zero_w", "zero_g", "none_g"], ["bias", "bn_w"], ["wd2"]


def golden(case: str, kind: str) -> dict[str, np.ndarray]:
    prefix = f"{case}/{kind}."
    return {key.removeprefix(prefix): ARRAYS[key] for key in ARRAYS.files if key.startswith(prefix)}


@pytest.mark.parametrize("precision, tolerance", [("f64", 1e-9), ("f32", 1e-4)])
@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectory_equals_the_published_one(name, precision, tolerance):
    case = CASES[name]
    dtype = torch.float64 if precision == "f64" else torch.float32
    params = {k: nn.Parameter(torch.tensor(v, dtype=dtype)) for k, v in golden(name, "init").items()}
    gradients = {k: torch.tensor(v, dtype=dtype) for k, v in golden(name, "grads").items()}
    decay = case["weight_decay"]
    groups = [
        {"params": [params[k] for k in WEIGHTS], "weight_decay": decay, "lars": True},
        {"params": [params[k] for k in PLAIN], "weight_decay": 0.0, "lars": False},
        {"params": [params[k] for k in HEAVY], "weight_decay": 10 * decay, "lars": True},
    ]
    common = {"lr": case["start_lr"], "momentum": case["momentum"], "nesterov": case["nesterov"]}
    trust = {"trust_coefficient": case["trust_coefficient"], "eps": case["eps"]}
    optimizer = LARS(groups, **common, **trust) if case["lars"] else SGD(groups, **common)

    trajectory, rates = golden(name, f"traj_{precision}"), ARRAYS[f"{name}/lr_{precision}"]
    for step, rate in enumerate(rates):
        lr = warmup_cosine(
            step,
            start_lr=case["start_lr"],
            lr=case["lr"],
            final_lr=case["final_lr"],
            warmup_steps=case["warmup_steps"],
            total_steps=case["T_max"],
        )
        assert lr == pytest.approx(rate, rel=1e-12, abs=1e-15)
        set_lr(optimizer, lr)
        for k, gradient in gradients.items():
            params[k].grad = gradient[step].clone()
        if case["lars"] and precision == "f64":
            assert lars_statistics(optimizer) == pytest.approx(ARRAYS[f"{name}/lars_stats_avg_min_max_count"][step], rel=1e-9)
        optimizer.step()
        for k, gradient in gradients.items():
            assert torch.equal(params[k].grad, gradient[step])
        for k, expected in trajectory.items():
            assert params[k].detach().numpy() == pytest.approx(expected[step], rel=tolerance, abs=tolerance), (step, k)

    buffers = golden(name, f"final_buf_{precision}")
    assert {k for k, p in params.items() if optimizer.state[p]} == set(buffers)
    for k, expected in buffers.items():
        ours = optimizer.state[params[k]]["momentum_buffer"].numpy()
        assert ours == pytest.approx(expected, rel=tolerance, abs=tolerance), k


@torch.no_grad()
def lars_statistics(optimizer: LARS) -> list[float]:
    """Mean, least, largest and number of the factors of layers with weights and gradients other than zero."""
    ratios = []
    for group in optimizer.param_groups:
        if group["lars"]:
            params = [p for p in group["params"] if p.grad is not None]
            factors = trust_ratios(params, group["weight_decay"], group["trust_coefficient"], group["eps"])
            ratios += [float(r) for p, r in zip(params, factors, strict=True) if p.norm() > 0 and p.grad.norm() > 0]
    return [float(np.mean(ratios)), min(ratios), max(ratios), len(ratios)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_equals_the_published_one(name):
    case = CASES[name]
    for step, lr in zip(ARRAYS[f"{name}/step"], ARRAYS[f"{name}/lr"], strict=True):
        ours = warmup_cosine(
            int(step),
            start_lr=case["start_lr"],
            lr=case["lr"],
            final_lr=case["final_lr"],
            warmup_steps=case["warmup_epochs"] * case["ipe"],
            total_steps=case["epochs"] * case["ipe"],
        )
        assert ours == pytest.approx(lr, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_torchs_at_a_constant_rate(nesterov):
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64)) for _ in range(2))
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "weight_decay": 0.01}
    optimizers = SGD([ours], **settings), torch.optim.SGD([theirs], **settings)
    for step in range(5):
        for p, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (p.sin() * (step + 1)).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_saved_state_continues_exactly(name):
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = build_encoder("small_cnn", output_dim=4, in_channels=1)
        return model, build_optimizer(name, parameter_groups(model, 0.01), lr=0.1)

    def take(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        images = torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8) * (step + 1)
        optimizer.zero_grad()
        model(images)[1].square().mean().backward()
        optimizer.step()

    whole = build()
    for step in range(2):
        take(*whole, step)
    resumed = build()
    resumed[0].load_state_dict(whole[0].state_dict())
    resumed[1].load_state_dict(copy.deepcopy(whole[1].state_dict()))
    take(*whole, 2)
    take(*resumed, 2)
    for a, b in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(a, b)


def names_of(model: nn.Module, groups: list[dict]) -> list[set[str]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return [{names[id(p)] for p in group["params"]} for group in groups]


def test_groups_by_module_find_norms_that_the_name_hides():
    model = build_encoder("resnet50", output_dim=8)
    decayed, plain = names_of(model, parameter_groups(model, 0.1))
    assert "backbone.layer1.0.downsample.1.weight" in plain
    assert "backbone.layer1.0.downsample.0.weight" in decayed
    convolutions_and_linears = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(decayed) == len(convolutions_and_linears)
    by_name, _ = names_of(model, parameter_groups(model, 0.1, rule="suncet"))
    assert by_name - decayed == {f"backbone.layer{i}.0.downsample.1.weight" for i in range(1, 5)}


def test_groups_carry_their_settings_and_leave_frozen_parameters_out():
    model = build_encoder("small_cnn", output_dim=8)
    model.backbone.requires_grad_(False)
    decayed, plain = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], decayed["lars"]) == (0.1, True)
    assert (plain["weight_decay"], plain["lars"]) == (0.0, False)
    assert names_of(model, [decayed])[0] == {f"head.fc{i}.weight" for i in (1, 2, 3)}


def test_position_embeddings_and_layer_norms_of_a_transformer_are_not_decayed():
    model = nn.ModuleDict({"vit": timm.create_model("test_vit", num_classes=0), "norm": nn.LayerNorm((3, 4))})
    _, plain = names_of(model, parameter_groups(model, 0.1))
    assert {"vit.pos_embed", "vit.cls_token", "vit.blocks.0.norm1.weight", "norm.weight"} <= plain


def test_unknown_names_are_named():
    model = nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"rule 'name'.*module, suncet"):
        parameter_groups(model, 0.0, rule="name")
    with pytest.raises(InputError, match=r"'adam'.*lars, sgd, adamw"):
        build_optimizer("adam", parameter_groups(model, 0.0), lr=0.1)


def test_rates_rise_geometrically_from_the_first_layer_to_the_last() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    groups = parameter_groups(model, 0.1, first_rate=0.01)
    optimizer = build_optimizer("adamw", groups, lr=1.0)
    set_lr(optimizer, 2.0)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([2 * 0.01 ** (1 - i / 5) for i in range(6)])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0, 0, 0, 0.1, 0]


def test_optimizers_without_the_compiler_take_the_same_steps() -> None:
    code = """
import sys, torch
from paws.optim import uncompiled
found = []
for plain in (torch.optim.AdamW, torch.optim.LBFGS):
    for kind in (uncompiled(plain), plain):
        weight = torch.nn.Parameter(torch.linspace(-1, 2, 7))
        optimizer = kind([weight], lr=0.1)
        def loss():
            optimizer.zero_grad()
            value = (weight - 0.3).square().sum()
            value.backward()
            return value
        for _ in range(3):
            optimizer.step(loss)
        if kind is not plain and plain is torch.optim.AdamW:
            assert "torch._dynamo" not in sys.modules
        found.append(weight.detach().clone())
assert torch.equal(found[0], found[1]) and torch.equal(found[2], found[3])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
