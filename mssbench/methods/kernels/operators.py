"""The kernels as torch operators, which work with torch.compile and gradcheck.

torch.ops.mssbench.fused_roots(a, coefficients, terms, norm, operands) -> (sqrt, isqrt), and its
gradient by torch.ops.mssbench.fused_gradient(y, z, g, inverse, coefficients, terms, operands).
The function `roots` calls them.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, cast, get_args

import torch

from mssbench.arrays import epsilon
from mssbench.errors import Unsupported, unknown
from mssbench.methods.kernels import fused
from mssbench.methods.kernels.factors import UNIT, of_gradient
from mssbench.methods.kernels.variants import Operands
from mssbench.methods.method import Function, Root
from mssbench.methods.minimax import Factor

_BOTH = frozenset(("sqrt", "isqrt"))


def roots(
    a: torch.Tensor,
    factors: Sequence[Factor],
    norm: str = "min_ws_minc",
    operands: Operands | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (A^{1/2}, A^{-1/2}) of a: (..., n, n) on a GPU, differentiable.

    Forward and backward take one launch each. factors: as from minimax.py. operands: the rounding
    of products on tensor cores; None for ordinary cores, in the dtype of `a`. Raises Unsupported if
    no kernel fits the batch.
    """
    coefficients, terms = flattened(factors)
    both: tuple[torch.Tensor, torch.Tensor] = torch.ops.mssbench.fused_roots(
        a, coefficients, terms, norm, operands or ""
    )
    return both


def flattened(factors: Sequence[Factor]) -> tuple[list[float], list[int]]:
    """Return all coefficients as one list, and the number of coefficients of each factor."""
    return [c for factor in factors for c in factor], [len(factor) for factor in factors]


def _factors(coefficients: Sequence[float], terms: Sequence[int]) -> list[Factor]:
    rest = iter(coefficients)
    return [tuple(next(rest) for _ in range(count)) for count in terms]


def _known(operands: str) -> Operands | None:
    """Return the rounding of operands that an operator was given as text; "" stands for None."""
    if operands and operands not in get_args(Operands):
        raise Unsupported(unknown("operands", operands, get_args(Operands)))
    return cast(Operands, operands) if operands else None


@torch.library.custom_op("mssbench::fused_roots", mutates_args=())
def _fused_roots(
    a: torch.Tensor, coefficients: Sequence[float], terms: Sequence[int], norm: str, operands: str
) -> tuple[torch.Tensor, torch.Tensor]:
    root = fused.iterate(a, _factors(coefficients, terms), norm, _BOTH, _known(operands))
    assert root.sqrt is not None
    assert root.isqrt is not None
    return root.sqrt, root.isqrt


@_fused_roots.register_fake
def _(a: torch.Tensor, *_: Any) -> Any:
    return _like(a), _like(a)


@torch.library.custom_op("mssbench::fused_gradient", mutates_args=())
def _fused_gradient(
    y: torch.Tensor,
    z: torch.Tensor,
    g: torch.Tensor,
    inverse: bool,
    coefficients: Sequence[float],
    terms: Sequence[int],
    operands: str,
) -> torch.Tensor:
    function: Function = "isqrt" if inverse else "sqrt"
    s: torch.Tensor = fused.lyapunov(
        Root(y, z), function, g, _factors(coefficients, terms), _known(operands)
    )
    return s


@_fused_gradient.register_fake
def _(y: torch.Tensor, *_: Any) -> Any:
    return _like(y)


def _like(a: torch.Tensor) -> torch.Tensor:
    """Return an uninitialised contiguous tensor like `a`, as the kernels allocate it."""
    return torch.empty(a.shape, dtype=a.dtype, device=a.device)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)  # so that a root that is not used costs no launch
    ctx.save_for_backward(*output)
    ctx.operands = inputs[-1]


def _gradient(ctx: Any, g_sqrt: torch.Tensor | None, g_isqrt: torch.Tensor | None) -> Any:
    y, z = ctx.saved_tensors
    known = _known(ctx.operands)
    unit = UNIT[known] if known else epsilon(y) / 2
    n = int(y.shape[-1])  # a schedule is for one size, so that a trace fixes a dynamic size here
    coefficients, terms = flattened(of_gradient(5, 6, 0, unit, n))
    parts = [
        torch.ops.mssbench.fused_gradient(y, z, g, inverse, coefficients, terms, ctx.operands)
        for g, inverse in ((g_sqrt, False), (g_isqrt, True))
        if g is not None
    ]
    # `sum` would start with 0, and that addition would cost a launch.
    return (reduce(torch.add, parts) if parts else None), None, None, None, None


_fused_roots.register_autograd(_gradient, setup_context=_save)
