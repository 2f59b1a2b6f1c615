"""Rounding of float64 matrices to the numbers that a precision can store.

Numbers are rounded directly from float64, to nearest with ties to even. Rounding to float32 first
and then to bfloat16 would round twice. NumPy has no bfloat16, which is therefore rounded by
operations on the bits.
"""

from collections.abc import Callable

import numpy as np

from mssbench.arrays import STORAGE
from mssbench.errors import RegistryError, Unsupported, unknown
from mssbench.problems.rng import Floats


def cast(master: Floats, precision: str) -> Floats:
    """Round each value to the nearest one that `precision` can store; the result is float64.

    master: (..., n, n). tf32 is stored as float32. Symmetric matrices stay symmetric. Raises
    Unsupported if a finite value would become infinite, or a nonzero matrix would become zero.
    """
    if precision not in STORAGE:
        raise RegistryError(unknown("precision", precision, STORAGE))

    values = _ROUND[STORAGE[precision]](master)
    # Infinities that were there before are not overflows.
    if not np.array_equal(np.isfinite(values), np.isfinite(master)):
        largest = np.abs(master[np.isfinite(master)]).max()
        raise Unsupported(f"{precision} cannot hold the largest entry, {largest:.3g}")

    lost = ~values.any(axis=(-2, -1)) & master.any(axis=(-2, -1))
    if lost.any():
        largest = np.abs(master[lost]).max()
        raise Unsupported(
            f"{precision} rounds a matrix to zero: its largest entry is {largest:.3g}"
        )
    return values


def _bfloat16(x: Floats) -> Floats:
    """Round to bfloat16: 8 significant bits, and the range of exponents of float32."""
    bits = np.array(x, dtype=np.float64, order="C").view(np.uint64)
    dropped = np.uint64(53 - 8)
    odd = bits >> dropped & np.uint64(1)
    half = np.uint64(1 << (53 - 8 - 1))
    kept = (bits + (half - np.uint64(1) + odd)) >> dropped << dropped
    values = kept.view(np.float64)

    # Below the smallest normal number the spacing is constant, and rint rounds ties to even.
    small = np.abs(x) < 2.0**-126
    values = np.where(small, np.rint(np.where(small, x, 0.0) * 2.0**133) * 2.0**-133, values)
    values = np.where(np.abs(values) >= 2.0**128, np.copysign(np.inf, values), values)
    return np.where(np.isfinite(x), values, x)


def _through(dtype: type[np.floating]) -> Callable[[Floats], Floats]:
    def rounded(x: Floats) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            return x.astype(dtype).astype(np.float64)

    return rounded


_ROUND = {
    "float64": _through(np.float64),
    "float32": _through(np.float32),
    "float16": _through(np.float16),
    "bfloat16": _bfloat16,
}
