"""Double-double matrices: unevaluated sums hi + lo of two float64 matrices, products to 100 bits.

Products are computed by float64 matrix products that do not round. Entries are cut into slices of
so few bits that products and their sums over a row are integers below 2^53. Such products have the
same bits in every BLAS, on every machine and in any order of summation.

Ozaki, Ogita, Oishi, Rump: Error-free transformations of matrix multiplication by using fast
routines of matrix multiplication and its applications, Numerical Algorithms 2012.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
_SLICES = 5  # slices of 21 to 27 bits, which together hold about the 106 bits of hi + lo


class DoubleDouble(NamedTuple):
    """The unevaluated sum hi + lo of two float64 arrays, each (m, n, n).

    Each entry of lo is at most half a unit in the last place of the entry of hi.
    """

    hi: Floats
    lo: Floats


def _two_sum(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return s and e with s + e = x + y exactly (Knuth, The Art of Computer Programming)."""
    s = x + y
    t = s - x
    return s, (x - (s - t)) + (y - t)


def plus(x: DoubleDouble, e: Floats) -> DoubleDouble:
    """Return X + E."""
    hi, rest = _two_sum(x.hi, e)
    return DoubleDouble(*_two_sum(hi, rest + x.lo))


def symmetric(x: DoubleDouble) -> DoubleDouble:
    """Return (X + Xᵀ) / 2."""
    hi, rest = _two_sum(x.hi, x.hi.swapaxes(1, 2))
    hi, lo = _two_sum(hi, rest + (x.lo + x.lo.swapaxes(1, 2)))
    return DoubleDouble(hi / 2, lo / 2)


def _slices(x: DoubleDouble) -> list[Floats]:
    """Return matrices that add up to hi + lo, whose entries are multiples of a unit with few bits.

    Slice i has units of 2^-(bits i) times the largest entry, and entries of at most 2^(bits - 1)
    units. A sum of n products of two slices is therefore at most n 2^(2 bits - 2) <= 2^53 units.
    """
    n = x.hi.shape[-1]
    bits = (55 - (n - 1).bit_length()) // 2
    _, exponent = np.frexp(np.abs(x.hi).max(axis=(1, 2), keepdims=True))

    hi, lo = x
    slices = []
    for i in range(1, _SLICES + 1):
        shift = exponent - (i * bits - 1)
        part = np.ldexp(np.rint(np.ldexp(hi, -shift)), shift)
        slices.append(part)
        hi, lo = _two_sum(hi - part, lo)  # the difference is exact
    return slices


def product(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """Return X Y with an error of about 2^-100 |X| |Y|."""
    return _sum_of_products(np.zeros_like(x.hi), _slices(x), _slices(y), 1.0)


def minus_square(a: Floats, y: DoubleDouble) -> DoubleDouble:
    """Return A - Y Y for symmetric Y, with an error of about 2^-100 |Y|²."""
    slices = _slices(y)
    return _sum_of_products(a, slices, slices, -1.0)


def _sum_of_products(s: Floats, xs: list[Floats], ys: list[Floats], sign: float) -> DoubleDouble:
    """Return S + sign X Y; products are added from the largest on, and the smallest left out."""
    hi, lo = s, np.zeros_like(s)
    for order in range(_SLICES):
        for i in range(order + 1):
            hi, e = _two_sum(hi, sign * (xs[i] @ ys[order - i]))
            lo = lo + e
    return DoubleDouble(*_two_sum(hi, lo))


def norm(x: Floats) -> Floats:
    """Return the Frobenius norms, (m, n, n) -> (m,)."""
    norms: Floats = np.linalg.norm(x, axis=(1, 2))
    return norms
