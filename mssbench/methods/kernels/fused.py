"""Roots and gradients of a batch by one kernel launch each.

a, g and all results: (..., n, n), torch or CuPy, on a GPU; float32 or float64. They need not lie
in one piece, may be broadcast, and the batch may be empty.
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
from mssbench.methods.kernels.variants import MOST_STEPS, MOST_TERMS, Family, Norm, Operands
from mssbench.methods.method import Function, Root, Wanted
from mssbench.methods.minimax import Factor

NORMS = get_args(Norm)  # in the order of the kernels' enumeration


class Schedule(NamedTuple):
    """Factors as a kernel takes them."""

    factors: tuple[Factor, ...]
    values: np.ndarray  # (1,), the kernels' struct Schedule, which goes to a launch by value
    steps: int
    terms: int  # the most of any factor


_NONE = Schedule((), np.empty(0), 1, 0)  # of a kernel that takes none


class _Batch(NamedTuple):
    """A batch of matrices in one piece, and the shape to give back."""

    flat: Array  # (b, n, n)
    shape: tuple[int, ...]
    dtype: str

    @property
    def n(self) -> int:
        return int(self.shape[-1])


def iterate(
    a: Array, factors: Sequence[Factor], norm: str, wanted: Wanted, operands: Operands | None = None
) -> Root:
    """The coupled iteration by these factors, from A over an upper bound of its eigenvalues.

    operands: of products on tensor cores; None: by ordinary cores, in the dtype of `a`.
    Raises Unsupported where no kernel serves, and NotInstalled without CuPy.
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
    """The gradient S with Y S + S Y = R, see backward.implicit.law. As `iterate` otherwise."""
    if root.sqrt is None or (function == "isqrt" and root.isqrt is None):
        raise Unsupported(f"this forward does not yield what the gradient of {function} needs")
    y = _batch(root.sqrt)
    z = _batch(root.isqrt).flat if function == "isqrt" else None
    s, schedule = _empty(y), packed(tuple(factors), "min_ws_minc", y.dtype)
    given = [y.flat, z, _batch(g).flat, s]
    _run("lyapunov", y, given, [schedule.values], schedule, operands)
    return _given(s, y)


def jacobi(a: Array, wanted: Wanted) -> Root:
    """Eigenpairs and roots by Jacobi's method. Raises as `iterate` does."""
    batch = _batch(a)
    sqrt, isqrt = (_empty(batch) if name in wanted else None for name in ("sqrt", "isqrt"))
    pairs = "eigen" in wanted
    v = _empty(batch) if pairs else None
    w = namespace(a).empty_like(batch.flat[..., 0]) if pairs else None
    _run("jacobi", batch, [batch.flat, sqrt, isqrt, w, v], [])
    eigen = (w.reshape(batch.shape[:-1]), _given(v, batch)) if w is not None else None
    return Root(sqrt=_given(sqrt, batch), isqrt=_given(isqrt, batch), eigen=eigen)


def loewner(eigen: tuple[Array, Array], function: Function, g: Array) -> Array:
    """The gradient in the eigenbasis, from (w, V). Raises as `iterate` does."""
    w, v = eigen
    batch = _batch(v)
    s = _empty(batch)
    values = _contiguous(w.reshape(-1, batch.n))
    inverse = np.int32(function == "isqrt")
    _run("loewner", batch, [values, batch.flat, _batch(g).flat, s], [inverse])
    return _given(s, batch)


@lru_cache(maxsize=256)  # a method asks in every call, which is timed
def packed(factors: tuple[Factor, ...], norm: str, dtype: str) -> Schedule:
    """A schedule for the kernels.

    Raises Unsupported for more steps or terms than they hold, and for another norm.
    """
    if norm not in NORMS:
        raise Unsupported(f"the kernels know the norms {', '.join(NORMS)}, not {norm}")
    if len(factors) > MOST_STEPS or any(len(factor) > MOST_TERMS for factor in factors):
        raise Unsupported(f"a kernel holds {MOST_STEPS} steps of {MOST_TERMS} terms")
    layout = np.dtype(
        [
            ("steps", "i4"),
            ("norm", "i4"),
            ("terms", "i4", MOST_STEPS),
            ("c", dtype, (MOST_STEPS, MOST_TERMS)),
        ],
        align=True,
    )
    found = np.zeros(1, layout)
    found["steps"], found["norm"] = len(factors), NORMS.index(norm)
    for i, factor in enumerate(factors):
        found["terms"][0, i] = len(factor)
        found["c"][0, i, : len(factor)] = factor
    found.flags.writeable = False
    return Schedule(factors, found, len(factors), max(map(len, factors), default=0))


def _run(
    family: Family,
    batch: _Batch,
    given: Sequence[Array | None],
    values: Sequence[Any],
    schedule: Schedule = _NONE,
    operands: Operands | None = None,
) -> None:
    """Plan and launch; nothing for an empty batch. given: the kernel's arrays, then its values."""
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
    """What every kernel takes last; they know how their numbers round where they ask."""
    sizes = np.int32(n), np.int32(count)
    return sizes if family == "loewner" else (*sizes, np.finfo(dtype).eps)


def _batch(a: Array) -> _Batch:
    shape = tuple(a.shape)
    n = shape[-1]
    flat = a if len(shape) == 3 else a.reshape(-1, n, n) if n else a
    return _Batch(_contiguous(flat), shape, arrays.dtype_name(a))


def _contiguous(x: Array) -> Array:
    return x.contiguous() if arrays.library(x) == "torch" else namespace(x).ascontiguousarray(x)


def _empty(batch: _Batch) -> Array:
    return namespace(batch.flat).empty_like(batch.flat)


def _given(flat: Array | None, batch: _Batch) -> Any:
    """As it was asked for."""
    return flat if flat is None or len(batch.shape) == 3 else flat.reshape(batch.shape)
