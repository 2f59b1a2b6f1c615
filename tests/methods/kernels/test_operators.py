"""The kernels as torch operators, with the emulation in place of a GPU."""

import pytest
import torch
from helpers.emulated import Emulation

from mssbench.errors import Unsupported
from mssbench.methods.kernels import fused, operators
from mssbench.methods.kernels.factors import UNIT, of_gradient
from mssbench.methods.method import Root
from mssbench.methods.minimax import schedule

FACTORS = schedule(0.1, 5, 3, (5, 5)).factors


@pytest.fixture(autouse=True)
def running(gpu: Emulation) -> None:
    """Every test here has the emulation, also where it does not look at it."""


def spd(b: int, n: int) -> torch.Tensor:
    x = torch.randn(b, n, 3 * n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    return x @ x.mT / (3 * n) + 0.2 * torch.eye(n)


def both(a: torch.Tensor) -> torch.Tensor:
    y, z = operators.roots((a + a.mT) / 2, FACTORS)
    return y + 2 * z


def test_the_roots_are_roots_and_take_one_launch(gpu: Emulation) -> None:
    a = spd(3, 6)
    y, z = operators.roots(a, FACTORS)
    assert torch.allclose(y @ y, a, rtol=1e-10)
    assert torch.allclose(y @ z, torch.eye(6, dtype=a.dtype).expand_as(a), atol=1e-10)
    assert len(gpu.launches) == 1


def test_its_gradient_is_that_of_the_function() -> None:
    assert torch.autograd.gradcheck(both, (spd(2, 4).requires_grad_(),), atol=1e-6)


def test_a_step_takes_two_launches_where_one_root_is_used(gpu: Emulation) -> None:
    a = spd(2, 5).requires_grad_()
    y, _ = operators.roots(a, FACTORS)
    y.square().sum().backward()
    assert [launch.variant.family for launch in gpu.launches] == ["iterate", "lyapunov"]


def test_torch_knows_its_shape_without_a_call(gpu: Emulation) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        y, z = operators.roots(mode.from_tensor(spd(2, 5)).mT, FACTORS)
    assert y.shape == z.shape == (2, 5, 5)
    assert y.is_contiguous()
    assert not gpu.launches


def test_torch_compile_sees_one_graph() -> None:
    a = spd(2, 5).requires_grad_()
    whole = torch.compile(both, fullgraph=True, backend="aot_eager")
    assert torch.equal(whole(a), both(a))
    found, right = (torch.autograd.grad(f(a).sum(), a)[0] for f in (whole, both))
    assert torch.equal(found, right)


def test_the_operator_keeps_torchs_rules() -> None:
    coefficients, terms = operators.flattened(FACTORS)
    a = spd(2, 4).requires_grad_()
    given = (a, coefficients, terms, "trace", "")
    torch.library.opcheck(torch.ops.mssbench.fused_roots.default, given)


@pytest.mark.slow
def test_both_ways_take_tensor_cores_where_they_are_asked_for(gpu: Emulation) -> None:
    a = spd(2, 6).float().requires_grad_()
    y, z = operators.roots(a, FACTORS, operands="tf32")
    (s,) = torch.autograd.grad(y, a, torch.ones_like(y))
    factors = of_gradient(5, 6, 0, UNIT["tf32"], 6)  # as their operands round
    right = fused.lyapunov(Root(y.detach(), z), "sqrt", torch.ones_like(y), factors, "tf32")
    assert torch.equal(s, right)
    gpu.launches.clear()
    y, _ = operators.roots(a, FACTORS, operands="tf32x3")
    y.square().sum().backward()
    assert [launch.variant.operands for launch in gpu.launches] == ["tf32x3"] * 2
    assert torch.allclose(y @ y, a, rtol=1e-5, atol=1e-6)
    with pytest.raises(Unsupported, match="tf32x3"):
        operators.roots(a, FACTORS, operands="tf32x2")  # type: ignore[arg-type]
