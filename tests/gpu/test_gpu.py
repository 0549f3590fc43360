"""What must hold on a CUDA device: numbers as on the CPU, mixed precision, compilation, exact resume, NCCL, embedding."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import cosine_similarity

from paws import distributed
from paws.config.cards import load_config
from paws.config.schema import Optim, Recipe
from paws.losses import nt_xent, paws_loss, suncet
from paws.models import build_encoder
from paws.models.runtime import Runtime
from paws.models.sources import frozen_backbone
from paws.runs.checkpoint import load_latest
from paws.runs.log import read_metrics
from paws.runs.signals import Interrupted
from paws.train import train
from paws.train.intervals import Intervals
from paws.train.run import Run
from tests.ranks import environment, free_port
from tests.train.test_scaler import OVERFLOW, STEPS, Linear

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CARD = Path(__file__).parents[2] / "configs/digits.yaml"
SMALL = ["optim.epochs=2", "optim.steps_per_epoch=6", "optim.batch_size=16", "support.images_per_class=2", "log.every_steps=2"]


@pytest.fixture(autouse=True)
def full_float32():
    """No tf32, so that float32 means the same as on the CPU."""
    former = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(former[0])
    torch.backends.cudnn.allow_tf32 = former[1]


def digits(folder: Path, *more: str):
    return load_config(CARD, [*SMALL, f"run_dir={folder}", "machine.device=cuda", *more])


def test_a_forward_pass_gives_what_the_cpu_gives():
    encoder = build_encoder("wide_resnet28w2", output_dim=64).eval()
    images = [torch.randn(8, 3, 32, 32), torch.randn(8, 3, 18, 18)]
    with torch.inference_mode():
        expected = encoder(images)[1]
        found = encoder.cuda()([part.cuda() for part in images])[1].cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_and_gradients_are_those_of_the_cpu(dtype):
    draws = torch.Generator().manual_seed(0)
    z = torch.randn(20 + 4 * 16, 32, generator=draws, dtype=dtype)
    labels = torch.arange(20) % 10

    def losses(z):
        ids, views = labels.to(z.device), z[20:]
        targets = torch.cat([views[16:32], views[:16]])
        both = paws_loss(views, z[:20], targets, z[:20], ids, num_classes=10, smoothing=0.1)
        return [*both, nt_xent(views[:32]), suncet(z[:20], ids, num_classes=10)]

    on = {}
    for device in ("cpu", "cuda"):
        leaf = z.to(device).requires_grad_()
        values = losses(leaf)
        sum(values).backward()
        on[device] = [value.detach().cpu() for value in values], leaf.grad.cpu()
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(on["cuda"], on["cpu"], rtol=tolerance, atol=tolerance)


class OnDeviceSettings(Recipe):
    name: Literal["on_device"] = "on_device"


class OnDevice(Linear):
    """A sum of weights on the device, whose gradient is infinite at ``OVERFLOW``."""

    Settings = OnDeviceSettings

    def __init__(self):
        super().__init__(until=None)
        self.encoder = self.encoder.cuda()

    def step(self, batch):
        with torch.autocast("cuda", enabled=False):  # half precision would overflow by itself
            loss = self.encoder(torch.tensor([[1.0, 2.0, 1.0 + batch.step]], device="cuda")).sum()
        return loss * (1e36 if batch.step in OVERFLOW else 1), {}


def test_a_step_that_the_scaler_skips_does_not_move_the_schedule(tmp_path):
    rates = []
    with Run(torch.device("cuda"), tmp_path, "fp16", intervals=Intervals(log=1, save=1), quiet=True) as run:
        run.start(OnDevice(), Optim(name="sgd", lr=0.01, momentum=0, weight_decay=0, epochs=1))
        run.listener = lambda row: rates.append(row["lr"])
        run.train()
    assert run.skipped == len(OVERFLOW)
    updates = [step - sum(skipped < step for skipped in OVERFLOW) for step in range(STEPS)]
    assert rates == [run.rate(update) for update in updates]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(precision, tmp_path):
    result = train(digits(tmp_path, f"machine.precision={precision}", "optim.steps_per_epoch=40"), quiet=True)
    assert result["top1"] > 0.5


def test_a_compiled_network_trains_to_the_same_loss(tmp_path):
    losses = {}
    for compiled in ("false", "true"):
        folder = tmp_path / compiled
        train(digits(folder, f"machine.compile={compiled}"), quiet=True)
        losses[compiled] = [row["loss"] for row in read_metrics(folder) if "loss" in row]
    assert losses["true"] == pytest.approx(losses["false"], rel=2e-3)


def test_resume_is_exact_with_deterministic_kernels(tmp_path, monkeypatch):
    settings = ("machine.deterministic=true", "checkpoint.every_steps=2")
    train(digits(tmp_path / "whole", *settings), quiet=True)
    original = Run.update

    def stop(self, *loss, **metrics):
        original(self, *loss, **metrics)
        if self.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "update", stop)
    with pytest.raises(Interrupted):
        train(digits(tmp_path / "parts", *settings), quiet=True)
    monkeypatch.setattr(Run, "update", original)
    train(digits(tmp_path / "parts", *settings), resume=True, quiet=True)
    torch.use_deterministic_algorithms(False)
    whole, parts = (load_latest(tmp_path / name / "checkpoints")["model"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_nccl_with_one_rank_trains_to_the_same_weights(tmp_path, monkeypatch):
    train(digits(tmp_path / "alone"), quiet=True)
    for name, value in environment(0, 1, free_port()).items():
        monkeypatch.setenv(name, value)
    with distributed.init("cuda"):
        assert torch.distributed.get_backend() == "nccl"
        values = torch.randn(4, 8, device="cuda", requires_grad=True)
        assert torch.equal(distributed.gather(values), values)
    train(digits(tmp_path / "nccl"), quiet=True)
    alone, nccl = (load_latest(tmp_path / name / "checkpoints")["model"] for name in ("alone", "nccl"))
    for name in alone:
        torch.testing.assert_close(nccl[name], alone[name], rtol=1e-3, atol=1e-4)


def test_embedding_in_half_precision_keeps_the_direction(tmp_path):
    import timm

    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet").state_dict(), tmp_path / "w.safetensors")
    frozen = frozen_backbone("test_efficientnet", tmp_path / "w.safetensors", 64)
    images = torch.randint(0, 256, (64, 3, 64, 64), dtype=torch.uint8)
    on_cpu, on_gpu = Runtime(frozen, "cpu")(images), Runtime(frozen, "cuda")(images)
    assert float(cosine_similarity(on_cpu, on_gpu).min()) > 1 - 1e-3
