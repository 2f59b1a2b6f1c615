"""Roots and gradients of a batch by one CUDA kernel launch each.

a, g and all results: (..., n, n), torch or CuPy, on a GPU; float32 or float64. Inputs need not be
contiguous and may be broadcast, and the batch may be empty.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, get_args

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.methods.kernels import effort
from mssbench.methods.kernels.driver import driver_of
from mssbench.methods.kernels.planner import plan
from mssbench.methods.kernels.variants import MOST_STEPS, MOST_TERMS, Family, KernelNorm, Operands
from mssbench.methods.method import Function, Root, Wanted
from mssbench.methods.minimax import Factor

NORMS = get_args(KernelNorm)  # in the order of the enumeration in the kernels


class KernelFactors(NamedTuple):
    """Factors in the form that a kernel takes."""

    factors: tuple[Factor, ...]
    values: np.ndarray  # (1,), the struct Schedule of the kernels, which is passed by value
    steps: int
    terms: int  # the largest number of terms of any factor


_NONE = KernelFactors((), np.empty(0), 1, 0)  # for kernels without a schedule


class _ContiguousBatch(NamedTuple):
    """A contiguous batch of matrices, and the shape that the caller had."""

    flat: Array  # (b, n, n)
    shape: tuple[int, ...]
    dtype: str

    @property
    def n(self) -> int:
        return int(self.shape[-1])


def iterate(
    a: Array, factors: Sequence[Factor], norm: str, wanted: Wanted, operands: Operands | None = None
) -> Root:
    """Return the wanted roots by the coupled iteration with these factors.

    norm: the upper bound of the eigenvalues by which A is divided. operands: the rounding of
    products on tensor cores; None for ordinary cores, in the dtype of `a`.
    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    batch = _batch(a)
    sqrt = _empty(batch) if "sqrt" in wanted else None
    isqrt = _empty(batch) if "isqrt" in wanted else None
    schedule = packed(tuple(factors), norm, batch.dtype)
    _run("iterate", batch, [batch.flat, sqrt, isqrt], [schedule.values], schedule, operands)
    return Root(sqrt=_given(sqrt, batch), isqrt=_given(isqrt, batch))


def lyapunov(
    root: Root,
    function: Function,
    g: Array,
    factors: Sequence[Factor],
    operands: Operands | None = None,
) -> Array:
    """Return the gradient S with Y S + S Y = R, where Y is the root A^{1/2}.

    R is made from g by the kernel, as in `backward.implicit.law`. factors, operands: those of the
    iteration, as for `iterate`.
    Raises Unsupported if no kernel fits the batch, or if `root` lacks a root that the equation
    needs, and NotInstalled without CuPy.
    """
    if root.sqrt is None or (function == "isqrt" and root.isqrt is None):
        raise Unsupported(
            f"this forward does not yield the roots that the gradient of {function} needs"
        )

    y = _batch(root.sqrt)
    z = _batch(root.isqrt).flat if function == "isqrt" else None
    s, schedule = _empty(y), packed(tuple(factors), "min_ws_minc", y.dtype)
    given = [y.flat, z, _batch(g).flat, s]
    _run("lyapunov", y, given, [schedule.values], schedule, operands)
    return _given(s, y)


def jacobi(a: Array, wanted: Wanted) -> Root:
    """Return the wanted eigenpairs and roots by Jacobi's method.

    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    batch = _batch(a)
    sqrt, isqrt = (_empty(batch) if name in wanted else None for name in ("sqrt", "isqrt"))

    pairs = "eigen" in wanted
    v = _empty(batch) if pairs else None
    w = namespace(a).empty_like(batch.flat[..., 0]) if pairs else None
    _run("jacobi", batch, [batch.flat, sqrt, isqrt, w, v], [])
    eigen = (w.reshape(batch.shape[:-1]), _given(v, batch)) if w is not None else None
    return Root(sqrt=_given(sqrt, batch), isqrt=_given(isqrt, batch), eigen=eigen)


def loewner(eigen: tuple[Array, Array], function: Function, g: Array) -> Array:
    """Return the gradient from the eigenpairs (w, V).

    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    w, v = eigen
    batch = _batch(v)
    s = _empty(batch)
    values = _contiguous(w.reshape(-1, batch.n))
    inverse = np.int32(function == "isqrt")
    _run("loewner", batch, [values, batch.flat, _batch(g).flat, s], [inverse])
    return _given(s, batch)


@lru_cache(maxsize=256)  # methods call this in every timed call
def packed(factors: tuple[Factor, ...], norm: str, dtype: str) -> KernelFactors:
    """Return the schedule of these factors for the kernels.

    Raises Unsupported for more steps or terms than the kernels hold, and for other norms.
    """
    if norm not in NORMS:
        raise Unsupported(f"the kernels know the norms {', '.join(NORMS)}, not {norm}")
    if len(factors) > MOST_STEPS or any(len(factor) > MOST_TERMS for factor in factors):
        raise Unsupported(
            f"a kernel holds {MOST_STEPS} steps of {MOST_TERMS} terms, and this schedule has more: "
            "set fewer iterations"
        )

    layout = np.dtype(
        [
            ("steps", "i4"),
            ("norm", "i4"),
            ("terms", "i4", MOST_STEPS),
            ("c", dtype, (MOST_STEPS, MOST_TERMS)),
        ],
        align=True,
    )

    values = np.zeros(1, layout)
    values["steps"], values["norm"] = len(factors), NORMS.index(norm)
    for i, factor in enumerate(factors):
        values["terms"][0, i] = len(factor)
        values["c"][0, i, : len(factor)] = factor
    values.flags.writeable = False
    return KernelFactors(factors, values, len(factors), max(map(len, factors), default=0))


def _run(
    family: Family,
    batch: _ContiguousBatch,
    given: Sequence[Array | None],
    values: Sequence[Any],
    schedule: KernelFactors = _NONE,
    operands: Operands | None = None,
) -> None:
    """Plan and launch a kernel, unless the batch is empty.

    given: the array arguments of the kernel, None for a missing one; values: those that follow.
    """
    driver, count = driver_of(batch.flat), batch.flat.shape[0]

    launch = plan(
        family,
        batch.n,
        count,
        batch.dtype,
        driver.limits,
        terms=schedule.terms,
        steps=schedule.steps,
        operands=operands,
    )
    if count == 0:
        return

    driver.launch(launch, given, [*values, *_sizes(family, batch.n, count, batch.dtype)])
    if effort.listeners:
        effort.announce(
            family,
            batch.flat,
            schedule.factors,
            [x is not None for x in given],
            rounded=operands is not None,
        )


@lru_cache(maxsize=256)
def _sizes(family: Family, n: int, count: int, dtype: str) -> tuple[Any, ...]:
    """Return the last arguments of every kernel: n, the batch size, and, but for loewner, ε."""
    sizes = np.int32(n), np.int32(count)
    return sizes if family == "loewner" else (*sizes, np.finfo(dtype).eps)


def _batch(a: Array) -> _ContiguousBatch:
    shape = tuple(a.shape)
    n = shape[-1]
    flat = a if len(shape) == 3 else a.reshape(-1, n, n) if n else a
    return _ContiguousBatch(_contiguous(flat), shape, arrays.dtype_name(a))


def _contiguous(x: Array) -> Array:
    return x.contiguous() if arrays.library(x) == "torch" else namespace(x).ascontiguousarray(x)


def _empty(batch: _ContiguousBatch) -> Array:
    return namespace(batch.flat).empty_like(batch.flat)


def _given(flat: Array | None, batch: _ContiguousBatch) -> Any:
    """Return a result in the shape of the batch that the caller had; None stays None."""
    return flat if flat is None or len(batch.shape) == 3 else flat.reshape(batch.shape)
