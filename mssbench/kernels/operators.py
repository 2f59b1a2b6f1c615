"""The kernels as torch operators, which torch.compile can see through and gradcheck can check.

torch.ops.mssbench.fused_roots(a, coefficients, terms, norm) -> (sqrt, isqrt), and its gradient by
torch.ops.mssbench.fused_gradient(y, z, g, inverse, coefficients, terms). Import this module, then
`roots` is the function to call.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch

from mssbench.arrays import epsilon
from mssbench.kernels import fused
from mssbench.registry import Function, Root
from mssbench.schedules import Factor, plan

_BOTH = frozenset(("sqrt", "isqrt"))


def roots(
    a: torch.Tensor, factors: Sequence[Factor], norm: str = "min_ws_minc"
) -> tuple[torch.Tensor, torch.Tensor]:
    """(A^{1/2}, A^{-1/2}) of a: (..., n, n) on a GPU, differentiable, in one launch each way.

    factors: as schedules.py makes them. Raises Unsupported where no kernel serves.
    """
    coefficients, terms = flattened(factors)
    found: tuple[torch.Tensor, torch.Tensor] = torch.ops.mssbench.fused_roots(
        a, coefficients, terms, norm
    )
    return found


def flattened(factors: Sequence[Factor]) -> tuple[list[float], list[int]]:
    """All coefficients, and how many of them each factor has."""
    return [c for factor in factors for c in factor], [len(factor) for factor in factors]


def _factors(coefficients: Sequence[float], terms: Sequence[int]) -> list[Factor]:
    rest = iter(coefficients)
    return [tuple(next(rest) for _ in range(count)) for count in terms]


@torch.library.custom_op("mssbench::fused_roots", mutates_args=())
def _fused_roots(
    a: torch.Tensor, coefficients: Sequence[float], terms: Sequence[int], norm: str
) -> tuple[torch.Tensor, torch.Tensor]:
    found = fused.iterate(a, _factors(coefficients, terms), norm, _BOTH)
    assert found.sqrt is not None
    assert found.isqrt is not None
    return found.sqrt, found.isqrt


@_fused_roots.register_fake
def _(a: torch.Tensor, *_: Any) -> Any:
    return _like(a), _like(a)


@torch.library.custom_op("mssbench::fused_gradient", mutates_args=())
def _fused_gradient(
    y: torch.Tensor, z: torch.Tensor, g: torch.Tensor, inverse: bool,
    coefficients: Sequence[float], terms: Sequence[int],
) -> torch.Tensor:  # fmt: skip
    function: Function = "isqrt" if inverse else "sqrt"
    found: torch.Tensor = fused.lyapunov(Root(y, z), function, g, _factors(coefficients, terms))
    return found


@_fused_gradient.register_fake
def _(y: torch.Tensor, *_: Any) -> Any:
    return _like(y)


def _like(a: torch.Tensor) -> torch.Tensor:
    """What the kernels allocate: in one piece, however `a` lies."""
    return torch.empty(a.shape, dtype=a.dtype, device=a.device)


def _save(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG001  (torch names them)
    ctx.set_materialize_grads(False)  # a root that is not used costs no launch
    ctx.save_for_backward(*output)


def _gradient(ctx: Any, g_sqrt: torch.Tensor | None, g_isqrt: torch.Tensor | None) -> Any:
    y, z = ctx.saved_tensors
    unit = epsilon(y) / 2
    floor = 3 * (unit * y.shape[-1] ** 0.5) ** 0.5
    coefficients, terms = flattened(plan(5, 6, 0.0, 0, error=2 * unit, floor=floor).factors)
    parts = [
        torch.ops.mssbench.fused_gradient(y, z, g, inverse, coefficients, terms)
        for g, inverse in ((g_sqrt, False), (g_isqrt, True))
        if g is not None
    ]
    # not `sum`, which begins with 0 and costs a launch for it
    return (reduce(torch.add, parts) if parts else None), None, None, None


_fused_roots.register_autograd(_gradient, setup_context=_save)
