"""The kernels as torch operators, which torch.compile can see through and gradcheck can check.

torch.ops.mssbench.fused_roots(a, coefficients, terms, norm, operands) -> (sqrt, isqrt), and its
gradient by torch.ops.mssbench.fused_gradient(y, z, g, inverse, coefficients, terms, operands).
Import this module, then `roots` is the function to call.
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
    """(A^{1/2}, A^{-1/2}) of a: (..., n, n) on a GPU, differentiable, in one launch each way.

    factors: as minimax.py makes them. operands: of products on tensor cores; None: by ordinary
    cores, in the dtype of `a`. Raises Unsupported where no kernel serves.
    """
    coefficients, terms = flattened(factors)
    found: tuple[torch.Tensor, torch.Tensor] = torch.ops.mssbench.fused_roots(
        a, coefficients, terms, norm, operands or ""
    )
    return found


def flattened(factors: Sequence[Factor]) -> tuple[list[float], list[int]]:
    """All coefficients, and how many of them each factor has."""
    return [c for factor in factors for c in factor], [len(factor) for factor in factors]


def _factors(coefficients: Sequence[float], terms: Sequence[int]) -> list[Factor]:
    rest = iter(coefficients)
    return [tuple(next(rest) for _ in range(count)) for count in terms]


def _known(operands: str) -> Operands | None:
    """An operator takes words alone: the empty one stands for none."""
    if operands and operands not in get_args(Operands):
        raise Unsupported(unknown("operands", operands, get_args(Operands)))
    return cast(Operands, operands) if operands else None


@torch.library.custom_op("mssbench::fused_roots", mutates_args=())
def _fused_roots(
    a: torch.Tensor, coefficients: Sequence[float], terms: Sequence[int], norm: str, operands: str
) -> tuple[torch.Tensor, torch.Tensor]:
    found = fused.iterate(a, _factors(coefficients, terms), norm, _BOTH, _known(operands))
    assert found.sqrt is not None
    assert found.isqrt is not None
    return found.sqrt, found.isqrt


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
    found: torch.Tensor = fused.lyapunov(
        Root(y, z), function, g, _factors(coefficients, terms), _known(operands)
    )
    return found


@_fused_gradient.register_fake
def _(y: torch.Tensor, *_: Any) -> Any:
    return _like(y)


def _like(a: torch.Tensor) -> torch.Tensor:
    """What the kernels allocate: in one piece, however `a` lies."""
    return torch.empty(a.shape, dtype=a.dtype, device=a.device)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.set_materialize_grads(False)  # a root that is not used costs no launch
    ctx.save_for_backward(*output)
    ctx.operands = inputs[-1]


def _gradient(ctx: Any, g_sqrt: torch.Tensor | None, g_isqrt: torch.Tensor | None) -> Any:
    y, z = ctx.saved_tensors
    known = _known(ctx.operands)
    unit = UNIT[known] if known else epsilon(y) / 2
    n = int(y.shape[-1])  # a schedule is for one size: of a dynamic one the trace keeps what it is
    coefficients, terms = flattened(of_gradient(5, 6, 0, unit, n))
    parts = [
        torch.ops.mssbench.fused_gradient(y, z, g, inverse, coefficients, terms, ctx.operands)
        for g, inverse in ((g_sqrt, False), (g_isqrt, True))
        if g is not None
    ]
    # not `sum`, which begins with 0 and costs a launch for it
    return (reduce(torch.add, parts) if parts else None), None, None, None, None


_fused_roots.register_autograd(_gradient, setup_context=_save)
