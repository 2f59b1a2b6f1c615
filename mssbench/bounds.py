"""Upper bounds of the largest eigenvalue, the `norm` of every iteration.

An iteration runs on A / c with c >= the largest eigenvalue. c decides how many steps it needs:
a factor 2.25 in c is one Newton–Schulz step. Every bound is per matrix, never over the batch.
"""

from typing import Literal, TypeAlias, get_args

from mssbench.arrays import (
    Array,
    amax,
    detach,
    diagonal,
    epsilon,
    eye_like,
    frobenius_norm,
    namespace,
    trace,
)

Norm: TypeAlias = Literal["trace", "frobenius", "wolkowicz_styan", "minc", "min_ws_minc"]
NORMS: tuple[str, ...] = get_args(Norm)


def power_of_four(a: Array) -> Array:
    """(..., n, n) -> (..., 1, 1): p, the power of 4 with p <= largest diagonal entry < 4 p.

    The diagonal of a positive semidefinite matrix bounds all its entries, so those of A / p lie
    within ±4: squares neither overflow nor vanish, and because p and its root are powers of 2 the
    root of 4^j A is bitwise 2^j times the root of A. A zero matrix gets p = 1.
    """
    xp = namespace(a)
    largest = amax(detach(diagonal(a)), -1)[..., None]
    mantissa, exponent = xp.frexp(largest)  # mantissa in [1/2, 1)
    power_of_two = largest / xp.where(largest == 0, 1.0, 2 * mantissa)  # nothing to round
    return _one_for_zero(xp.where(exponent % 2 == 1, power_of_two, power_of_two / 2))


def upper_bound(a: Array, norm: Norm) -> Array:
    """(..., n, n) -> (..., 1, 1): c with c >= the largest eigenvalue of each matrix.

    The trace and Frobenius norms stay in the graph, as in the papers that use them; the
    max-type bounds are detached, since their gradient is a subgradient nobody wants.
    A zero matrix gets c = 1, so that A / c is zero rather than 0 / 0.

    Sources: trace, Li et al. CVPR 2018; frobenius, Lin & Maji BMVC 2017; wolkowicz_styan,
    Wolkowicz & Styan, Linear Algebra Appl. 29 (1980); minc, Minc, Nonnegative Matrices (1988).
    """
    return _one_for_zero(_bound(a, norm))


def normalized(a: Array, norm: Norm) -> tuple[Array, Array]:
    """(..., n, n) -> A / c, (..., n, n), and √c, (..., 1, 1): where every iteration begins.

    The power of 4 goes first, so that the bound itself is computed without overflow. A zero matrix
    is divided by 1 but has √c = 0: its root is 0 by any method, and its inverse root not finite.
    """
    xp = namespace(a)
    p = power_of_four(a)
    a = a / p
    c = _bound(a, norm)
    return a / _one_for_zero(c), xp.sqrt(c) * xp.sqrt(p)


def _bound(a: Array, norm: Norm) -> Array:
    if norm == "trace":
        return trace(a)
    if norm == "frobenius":
        return frobenius_norm(a)
    a = detach(a)
    if norm == "wolkowicz_styan":
        return _wolkowicz_styan(a)
    if norm == "minc":
        return _minc(a)
    return namespace(a).minimum(_wolkowicz_styan(a), _minc(a))


def _one_for_zero(c: Array) -> Array:
    return namespace(c).where(c > 0, c, 1.0)


def _rounding_margin(a: Array) -> float:
    """Sums of n² terms may round to just under the bound; 4 units of the dtype lift them over."""
    return 1 + 4 * epsilon(a)


def _wolkowicz_styan(a: Array) -> Array:
    """Mean eigenvalue m + √(n-1) times their standard deviation s; exact for c·I.

    s = ‖A - m I‖_F / √n; the shorter ‖A‖_F² / n - m² would cancel where the bound is tightest.
    """
    n = a.shape[-1]
    mean = trace(a) / n
    spread = frobenius_norm(a - mean * eye_like(a))
    return (mean + spread * ((n - 1) / n) ** 0.5) * _rounding_margin(a)


def _minc(a: Array) -> Array:
    """max_i (|A| r)_i / r_i with r the row means of |A|; a zero row counts as 0, not 0 / 0.

    Minc takes the row sums, which give the same quotient but leave float16 at n = 256.
    """
    m = abs(a)
    r = namespace(a).mean(m, axis=-1, keepdims=True)  # (..., n, 1)
    return amax(m @ r / _one_for_zero(r), -2) * _rounding_margin(a)
