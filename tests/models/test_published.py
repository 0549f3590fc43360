"""Names, counts and numbers of the published networks (tests/golden, made by the reference implementation)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from paws.models import Encoder, build_classifier, build_encoder
from paws.optim import parameter_groups

GOLDEN = Path(__file__).parents[1] / "golden"
KEYS = json.loads((GOLDEN / "f_model_keys.json").read_text())
ROOTS = {"backbone.": "", "head.": "fc.", "prediction_head.": "pred."}

NETWORKS = {
    "resnet50_pred_2048": lambda: build_encoder("resnet50", output_dim=2048, prediction_head=True),
    "wide_resnet28w2_nopred_128": lambda: build_encoder("wide_resnet28w2", output_dim=128),
    "resnet50w2_pred_4096": lambda: build_encoder("resnet50w2", output_dim=4096, prediction_head=True),
    "resnet50w4_pred_8192": lambda: build_encoder("resnet50w4", output_dim=8192, prediction_head=True),
    "resnet50_fine_tune_1000": lambda: build_classifier("resnet50", 1000),
    "wide_resnet28w2_fine_tune_10": lambda: build_classifier("wide_resnet28w2", 10),
}


def published(name: str) -> str:
    root = next(root for root in ROOTS if name.startswith(root))
    return ROOTS[root] + name.removeprefix(root)


def test_every_published_network_is_compared():
    assert set(NETWORKS) == set(KEYS)


@pytest.mark.parametrize("network", NETWORKS)
def test_names_order_shapes_and_counts(network):
    with torch.device("meta"):  # the widest has 610 million parameters
        encoder = NETWORKS[network]()
    golden = KEYS[network]
    state = [(published(key), [list(t.shape), str(t.dtype)[6:]]) for key, t in encoder.state_dict().items()]
    assert state == [(key, spec) for key, spec in golden["state_dict"].items()]
    assert sum(p.numel() for p in encoder.parameters()) == golden["num_params"]
    assert [published(name) for name, _ in encoder.named_parameters()] == golden["param_order"]
    names = {id(p): published(name) for name, p in encoder.named_parameters()}
    decayed, plain = parameter_groups(encoder, 1e-6, rule="suncet")
    assert {names[id(p)] for p in decayed["params"]} == set(golden["lars_group"])
    assert len(decayed["params"]) + len(plain["params"]) == len(golden["param_order"])


def fill(encoder: Encoder, dtype: torch.dtype) -> Encoder:
    """Weights and statistics drawn from each entry's published name, as in the golden data."""
    for key, entry in encoder.state_dict().items():
        name, shape = published(key), tuple(entry.shape)
        draw = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
        if name.endswith("num_batches_tracked"):
            value = np.zeros(shape)
        elif name.endswith("running_mean"):
            value = 0.1 * draw.standard_normal(shape)
        elif name.endswith("running_var"):
            value = 0.5 + draw.random(shape)
        elif name.endswith("bias"):
            value = 0.1 * draw.standard_normal(shape)
        elif len(shape) >= 2:
            value = draw.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            value = 1 + 0.1 * draw.standard_normal(shape)
        entry.copy_(torch.from_numpy(np.asarray(value)))
    return encoder.to(dtype)


def normal(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(draw.standard_normal(shape)).to(dtype)


@pytest.mark.parametrize("precision", ["f64", "f32"])
@pytest.mark.parametrize("name, sizes", [("wide_resnet28w2", (32, 32, 18, 18, 18)), ("resnet50", (64, 64, 32, 32))])
def test_forward_and_backward(name, sizes, precision):
    golden = np.load(GOLDEN / f"f_forward_{name}.npz")
    dtype = {"f64": torch.float64, "f32": torch.float32}[precision]
    tolerance, gradient_tolerance = {"f64": (1e-8, 1e-8), "f32": (5e-3, 5e-3)}[precision]
    wide = name.startswith("wide")
    short = "wrn" if wide else "rn50"  # the golden inputs' names
    encoder = build_encoder(name, output_dim=128 if wide else 2048, prediction_head=not wide).double()
    encoder = fill(encoder, dtype)
    views = [normal(f"input-{short}-{i}-{size}", (4, 3, size, size), dtype) for i, size in enumerate(sizes)]

    def near(ours: torch.Tensor, what: str, tolerance: float = tolerance) -> None:
        expected = torch.from_numpy(golden[f"{what}_{precision}"])
        if not wide and ours.ndim == 2:  # the resnet50 file keeps some rows, and in float32 the first columns
            kept = [0, 1] if "single" in what else [0, 5, 10, 15]
            ours = ours[kept[: len(expected)], : expected.shape[1]]
        assert ours.shape == expected.shape
        assert (ours - expected).abs().max() <= tolerance * expected.abs().max(), what

    encoder.eval()
    with torch.no_grad():
        for what, given in {"single": views[0], "multi": views}.items():
            h, z = encoder(given)
            near(h, f"eval_{what}_h")
            near(z, f"eval_{what}_z")
            assert (z is h) == wide

    h, z = encoder.train()(views)
    scalar = (z * normal(f"cotangent-{short}", tuple(z.shape), dtype)).mean()
    scalar.backward()
    near(h.detach(), "train_multi_h")
    near(z.detach(), "train_multi_z")
    near(scalar.detach(), "train_scalar")
    norms = torch.stack([p.grad.norm() for p in encoder.parameters()])
    near(norms, "train_grad_norms", gradient_tolerance)
    statistics = {published(key): value for key, value in encoder.state_dict().items()}
    compared = [key for key in golden.files if key.startswith(f"train_stats_{precision}.")]
    assert compared
    for key in compared:
        expected = torch.from_numpy(golden[key])
        ours = statistics[key.removeprefix(f"train_stats_{precision}.")]
        assert (ours - expected).abs().max() <= tolerance * expected.abs().max(), key
