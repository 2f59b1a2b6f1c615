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
from mssbench.kernels import effort
from mssbench.kernels.driver import driver_of
from mssbench.kernels.planner import plan
from mssbench.kernels.variants import MOST_STEPS, MOST_TERMS, Family, Norm
from mssbench.registry import Function, Root, Wanted
from mssbench.schedules import Factor

NORMS = get_args(Norm)  # in the order of the kernels' enumeration


class _Batch(NamedTuple):
    """A batch of matrices in one piece, and the shape to give back."""

    flat: Array  # (b, n, n)
    shape: tuple[int, ...]

    @property
    def n(self) -> int:
        return int(self.shape[-1])

    @property
    def dtype(self) -> str:
        return str(self.flat.dtype).removeprefix("torch.")


def iterate(a: Array, factors: Sequence[Factor], norm: str, wanted: Wanted) -> Root:
    """The coupled iteration by these factors, from A over an upper bound of its eigenvalues.

    Raises Unsupported where no kernel serves, and NotInstalled without CuPy.
    """
    batch = _batch(a)
    sqrt, isqrt = (_empty(batch) if name in wanted else None for name in ("sqrt", "isqrt"))
    schedule = packed(tuple(factors), norm, batch.dtype)
    _run("iterate", batch, factors, [batch.flat, sqrt, isqrt, schedule], epsilon=True)
    return Root(sqrt=_given(sqrt, batch), isqrt=_given(isqrt, batch))


def lyapunov(root: Root, function: Function, g: Array, factors: Sequence[Factor]) -> Array:
    """The gradient S with Y S + S Y = R, see backward.implicit.law. Raises as `iterate` does."""
    if root.sqrt is None or (function == "isqrt" and root.isqrt is None):
        raise Unsupported(f"this forward does not yield what the gradient of {function} needs")
    y = _batch(root.sqrt)
    z = _batch(root.isqrt).flat if function == "isqrt" else None
    s, schedule = _empty(y), packed(tuple(factors), "min_ws_minc", y.dtype)
    arguments = [y.flat, z, _batch(g).flat, s, schedule]
    _run("lyapunov", y, factors, arguments, epsilon=True)
    return _given(s, y)


def jacobi(a: Array, wanted: Wanted) -> Root:
    """Eigenpairs and roots by Jacobi's method. Raises as `iterate` does."""
    batch = _batch(a)
    sqrt, isqrt = (_empty(batch) if name in wanted else None for name in ("sqrt", "isqrt"))
    pairs = "eigen" in wanted
    v = _empty(batch) if pairs else None
    w = namespace(a).empty_like(batch.flat[..., 0]) if pairs else None
    _run("jacobi", batch, (), [batch.flat, sqrt, isqrt, w, v], epsilon=True)
    eigen = (w.reshape(batch.shape[:-1]), _given(v, batch)) if w is not None else None
    return Root(sqrt=_given(sqrt, batch), isqrt=_given(isqrt, batch), eigen=eigen)


def loewner(eigen: tuple[Array, Array], function: Function, g: Array) -> Array:
    """The gradient in the eigenbasis, from (w, V). Raises as `iterate` does."""
    w, v = eigen
    batch = _batch(v)
    s = _empty(batch)
    values = _contiguous(w.reshape(-1, batch.n))
    inverse = np.int32(function == "isqrt")
    _run("loewner", batch, (), [values, batch.flat, _batch(g).flat, s, inverse])
    return _given(s, batch)


@lru_cache(maxsize=256)  # a method asks in every call, which is timed
def packed(factors: tuple[Factor, ...], norm: str, dtype: str) -> np.ndarray:
    """A schedule as the kernels' struct Schedule, (1,), which goes to a launch by value.

    Raises Unsupported for more steps or terms than it holds, and for another norm.
    """
    if norm not in NORMS:
        raise Unsupported(f"the kernels know the norms {', '.join(NORMS)}, not {norm}")
    if len(factors) > MOST_STEPS or any(len(factor) > MOST_TERMS for factor in factors):
        raise Unsupported(f"a kernel holds {MOST_STEPS} steps of {MOST_TERMS} terms")
    layout = np.dtype(
        [("steps", "i4"), ("norm", "i4"), ("terms", "i4", MOST_STEPS),
         ("c", dtype, (MOST_STEPS, MOST_TERMS))], align=True)  # fmt: skip
    found = np.zeros(1, layout)
    found["steps"], found["norm"] = len(factors), NORMS.index(norm)
    for i, factor in enumerate(factors):
        found["terms"][0, i] = len(factor)
        found["c"][0, i, : len(factor)] = factor
    found.flags.writeable = False
    return found


def _run(
    family: Family, batch: _Batch, factors: Sequence[Factor], arguments: list[Any],
    *, epsilon: bool = False,
) -> None:  # fmt: skip
    """Plan and launch, with the sizes that every kernel takes last; nothing for an empty batch."""
    driver = driver_of(batch.flat)
    count = int(batch.flat.shape[0])
    terms = max(map(len, factors), default=0)
    steps = len(factors) if family in ("iterate", "lyapunov") else 1
    launch = plan(family, batch.n, count, batch.dtype, driver.limits, terms=terms, steps=steps)
    if count == 0:
        return
    sizes = [np.int32(batch.n), np.int32(count)]
    if epsilon:
        sizes.append(np.dtype(batch.dtype).type(arrays.epsilon(batch.flat)))
    driver.launch(launch, [*arguments, *sizes])
    if effort.listeners:
        effort.announce(family, batch.flat, factors, [x is not None for x in arguments])


def _batch(a: Array) -> _Batch:
    shape = tuple(a.shape)
    n = shape[-1]
    return _Batch(_contiguous(a.reshape(-1, n, n) if n else a), shape)


def _contiguous(x: Array) -> Array:
    return x.contiguous() if arrays.library(x) == "torch" else namespace(x).ascontiguousarray(x)


def _empty(batch: _Batch) -> Array:
    return namespace(batch.flat).empty_like(batch.flat)


def _given(flat: Array | None, batch: _Batch) -> Any:
    return None if flat is None else flat.reshape(batch.shape)
