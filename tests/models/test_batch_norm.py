"""Batch norm over ranks equals one process that holds all the rows."""

from __future__ import annotations

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from paws import distributed
from paws.models.batch_norm import SyncBatchNorm, convert_sync_batchnorm
from tests.ranks import run_ranks


def global_rows(rank: int, world_size: int, rows: int) -> tuple[torch.Tensor, slice]:
    whole = torch.randn(world_size * rows, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return whole, slice(rank * rows, (rank + 1) * rows)


def test_one_process_keeps_its_batch_norm():
    norm = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert convert_sync_batchnorm(norm) is norm
    assert type(norm[1]) is nn.BatchNorm1d


def synchronised(module: nn.Module, uneven: bool) -> dict[str, torch.Tensor]:
    r, w = distributed.rank(), distributed.world_size()
    whole, own = global_rows(r, w, 4)
    if uneven:  # the last rank has fewer rows
        own = slice(own.start, own.stop - (2 if r == w - 1 else 0))
        whole = whole[: w * 4 - 2]
    module = convert_sync_batchnorm(module)
    outputs, x = [], whole[own].clone().requires_grad_()
    for scale in (1.0, 3.0):
        outputs.append(module(x * scale + 100))
    torch.stack(outputs).pow(3).sum().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    module.eval()
    return {
        "out": torch.stack(outputs).detach(),
        "grad": x.grad,
        "eval": module(x).detach(),
        **{f"state.{name}": value for name, value in module.state_dict().items()},
        **{f"param.{name}": value for name, value in gradients.items()},
    }


def one_process(module: nn.Module, world_size: int, uneven: bool) -> dict[str, torch.Tensor]:
    whole, _ = global_rows(0, world_size, 4)
    x = (whole[: world_size * 4 - 2] if uneven else whole).clone().requires_grad_()
    outputs = [module(x * scale + 100) for scale in (1.0, 3.0)]
    torch.stack(outputs).pow(3).sum().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    module.eval()
    return {
        "out": torch.stack(outputs).detach(),
        "grad": x.grad,
        "eval": module(x).detach(),
        **{f"state.{name}": value for name, value in module.state_dict().items()},
        **{f"param.{name}": value for name, value in gradients.items()},
    }


def norms() -> dict[str, nn.Module]:
    return {
        "default": nn.Sequential(nn.BatchNorm2d(3)),
        "momentum 0.99": nn.Sequential(nn.BatchNorm2d(3, momentum=0.99)),
        "cumulative": nn.Sequential(nn.BatchNorm2d(3, momentum=None)),
        "no affine": nn.Sequential(nn.BatchNorm2d(3, affine=False)),
        "no running stats": nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)),
        "timm": nn.Sequential(BatchNormAct2d(3, inplace=False)),
    }


@pytest.mark.parametrize("name", norms())
@pytest.mark.parametrize(("world_size", "uneven"), [(2, True), (4, False)])
def test_batch_norm_over_ranks_equals_one_process(name: str, world_size: int, uneven: bool):
    module = norms()[name].double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    results = run_ranks(synchronised, world_size, module, uneven)
    expected = one_process(module, world_size, uneven)
    assert {key for key in results[0] if key.startswith("state.")} == {k for k in expected if k.startswith("state.")}
    if name != "no running stats":  # then eval mode uses the rows at hand, which differ
        torch.testing.assert_close(torch.cat([r["eval"] for r in results]), expected["eval"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.cat([r["out"] for r in results], 1), expected["out"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.cat([r["grad"] for r in results]), expected["grad"], rtol=1e-9, atol=1e-9)
    for key, value in expected.items():
        if key.startswith("state."):
            for result in results:
                torch.testing.assert_close(result[key], value, rtol=1e-12, atol=1e-12)
        if key.startswith("param."):  # each rank has its share; DDP adds them up
            torch.testing.assert_close(sum(r[key] for r in results), value, rtol=1e-9, atol=1e-9)


def synchronised_half() -> tuple[torch.Tensor, torch.Tensor]:
    module = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(3)))
    whole, own = global_rows(distributed.rank(), 2, 4)
    out = module(whole[own].mean((2, 3)).bfloat16())
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        module(torch.zeros(3))
    return out.detach(), module[0].running_mean


def test_batch_norm_keeps_half_precision_inputs_and_float32_statistics():
    for out, running_mean in run_ranks(synchronised_half, 2):
        assert out.dtype == torch.bfloat16
        whole, _ = global_rows(0, 2, 4)
        rows = whole.mean((2, 3)).bfloat16().float()
        torch.testing.assert_close(running_mean, 0.1 * rows.mean(0))


def unknown_norm() -> str:
    class Odd(nn.BatchNorm2d):
        pass

    with pytest.raises(TypeError) as caught:
        convert_sync_batchnorm(nn.Sequential(Odd(3)))
    return str(caught.value)


def test_a_batch_norm_of_unknown_behaviour_is_not_replaced_in_silence():
    assert run_ranks(unknown_norm, 2)[0] == "cannot synchronise a Odd over ranks"


def single_value() -> None:
    module = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(3)))
    module(torch.randn(1, 3))  # one row on each of two ranks is enough
    assert isinstance(module[0], SyncBatchNorm)


def test_one_row_per_rank_is_enough():
    run_ranks(single_value, 2)
