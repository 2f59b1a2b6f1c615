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

Norm: TypeAlias = Literal[
    "trace",
    "frobenius",
    "wolkowicz_styan",
    "minc",
    "min_ws_minc",
    "inf",
    "frob2",
    "frob4",
    "power",
]
NORMS: tuple[str, ...] = get_args(Norm)
_PRODUCTS = {"frob2": 1, "frob4": 2}  # the others read the matrix, or multiply it with a vector
# Power iteration comes from below: in ten steps to 0.9 and more of the largest eigenvalue of most
# covariances, to at least 0.75 of 1900 of them. The margin covers that: Newton–Schulz would forgive
# c = w / 3, but a minimax schedule diverges once c is 0.5 % too small.
_POWER_STEPS = 10
_POWER_MARGIN = 1.4


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
    Wolkowicz & Styan, Linear Algebra Appl. 29 (1980); minc, Minc, Nonnegative Matrices (1988);
    inf, frob2, frob4, power, Golub & Van Loan, Matrix Computations (2013), §2.3 and §8.2.
    `power` alone is no certain bound: it is power iteration times a margin.
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


def slope(c: Array, norm: Norm) -> tuple[Array, Array]:
    """α and β, (..., 1, 1) like c, of dc/dA = α I + β A / c; both 0 where the bound is detached."""
    one, zero = namespace(c).ones_like(c), namespace(c).zeros_like(c)
    return (one if norm == "trace" else zero), (one if norm == "frobenius" else zero)


def products(norm: Norm) -> int:
    """Batched products that a bound spends."""
    return _PRODUCTS.get(norm, 0)


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
    if norm == "inf":
        return amax(namespace(a).sum(abs(a), axis=-1, keepdims=True), -2) * _rounding_margin(a)
    if norm in ("frob2", "frob4"):
        return _frobenius_of_powers(a, _PRODUCTS[norm])
    if norm == "power":
        return _power(a)
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


def _frobenius_of_powers(a: Array, squarings: int) -> Array:
    """‖A^{2^s}‖_F^{1/2^s}, that is (Σ w^{2p})^{1/2p} with p = 2^s: tighter with every squaring.

    Each square is divided by its norm before the next, so that none leaves the range of float16.
    """
    c, b = 1.0, a
    for s in range(squarings + 1):
        norm = frobenius_norm(b)
        c = c * norm ** (0.5**s)
        if s < squarings:
            b = b / _one_for_zero(norm)
            b = b @ b
    return c * _rounding_margin(a)


def _power(a: Array) -> Array:
    """Power iteration from below times a margin, but never more than the Frobenius norm.

    v = A v / ‖A v‖ from v_i = 1 + cos i: near the mean direction of features that are positive, and
    orthogonal to no eigenvector that was not made so. ‖A v‖ grows with every step.
    """
    xp = namespace(a)
    v = 1 + xp.cos(xp.cumsum(xp.ones_like(a[..., :1]), -2))  # (..., n, 1)
    for _ in range(_POWER_STEPS + 1):
        v = v / _one_for_zero(frobenius_norm(v))
        v = a @ v
    return xp.minimum(frobenius_norm(v) * _POWER_MARGIN, frobenius_norm(a) * _rounding_margin(a))
