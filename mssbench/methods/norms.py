"""Upper bounds of the largest eigenvalue, by which iterations scale a matrix (parameter `norm`).

An iteration runs on A / c with c >= the largest eigenvalue. A larger c costs more steps: a factor
of 2.25 costs one step of Newton–Schulz. Every bound is computed per matrix, never over the batch.
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
# Batched products of each bound. The others take no product of two matrices.
_PRODUCTS = {"frob2": 1, "frob4": 2}
# Power iteration approaches the largest eigenvalue from below. In ten steps it reached 0.9 and more
# for most covariances, and at least 0.75 for all of 1900. The margin 1.4 > 1 / 0.75 covers that.
# Newton–Schulz would tolerate c = w / 3, but a minimax schedule diverges if c is 0.5 % too small.
_POWER_STEPS = 10
_POWER_MARGIN = 1.4


def power_of_four(a: Array) -> Array:
    """Return the power of 4, p, with p <= largest diagonal entry < 4 p: (..., n, n) -> (..., 1, 1).

    The diagonal of a positive semidefinite matrix bounds all its entries, so that those of A / p
    lie within ±4, and squares neither overflow nor vanish. Since p and √p are powers of 2, scaling
    is exact: the root of 4^j A is bitwise 2^j times the root of A. A zero matrix gets p = 1.
    """
    xp = namespace(a)
    largest = amax(detach(diagonal(a)), -1)[..., None]
    mantissa, exponent = xp.frexp(largest)  # mantissa in [1/2, 1)
    power_of_two = largest / xp.where(largest == 0, 1.0, 2 * mantissa)  # exact: no rounding
    return _one_for_zero(xp.where(exponent % 2 == 1, power_of_two, power_of_two / 2))


def upper_bound(a: Array, norm: Norm) -> Array:
    """Return c >= the largest eigenvalue of each matrix: (..., n, n) -> (..., 1, 1).

    The trace and Frobenius norm are differentiated, as in the papers that use them. The other
    bounds are detached, since their gradients are subgradients that serve no purpose.
    A zero matrix gets c = 1, so that A / c is zero rather than 0 / 0.

    Sources: trace, Li et al. CVPR 2018; frobenius, Lin & Maji BMVC 2017; wolkowicz_styan,
    Wolkowicz & Styan, Linear Algebra Appl. 29 (1980); minc, Minc, Nonnegative Matrices (1988);
    inf, frob2, frob4, power, Golub & Van Loan, Matrix Computations (2013), §2.3 and §8.2.
    Only `power` is not guaranteed to be a bound: it is power iteration times a margin.
    """
    return _one_for_zero(_bound(a, norm))


def normalized(a: Array, norm: Norm) -> tuple[Array, Array]:
    """Return A / c, (..., n, n), and √c, (..., 1, 1), from which every iteration starts.

    A is divided by a power of 4 first, so that the bound is computed without overflow. A zero
    matrix is divided by 1 but has √c = 0, so that by any method its root is 0 and its inverse root
    is not finite.
    """
    xp = namespace(a)
    p = power_of_four(a)
    a = a / p
    c = _bound(a, norm)
    return a / _one_for_zero(c), xp.sqrt(c) * xp.sqrt(p)


def slope(c: Array, norm: Norm) -> tuple[Array, Array]:
    """Return α and β of dc/dA = α I + β A / c, (..., 1, 1); both are 0 if the bound is detached."""
    one, zero = namespace(c).ones_like(c), namespace(c).zeros_like(c)
    return (one if norm == "trace" else zero), (one if norm == "frobenius" else zero)


def products(norm: Norm) -> int:
    """Return the cost of a bound in batched matrix products."""
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
    """Return 1 + 4 ε, a factor that keeps sums of n² terms from rounding to below the bound."""
    return 1 + 4 * epsilon(a)


def _wolkowicz_styan(a: Array) -> Array:
    """Return m + √(n-1) s with mean m and standard deviation s of the eigenvalues; exact for c·I.

    s = ‖A - m I‖_F / √n; the shorter ‖A‖_F² / n - m² would cancel where the bound is tightest.
    """
    n = a.shape[-1]
    mean = trace(a) / n
    spread = frobenius_norm(a - mean * eye_like(a))
    return (mean + spread * ((n - 1) / n) ** 0.5) * _rounding_margin(a)


def _minc(a: Array) -> Array:
    """Return max_i (|A| r)_i / r_i with the row means r of |A|; a zero row counts as 0, not 0 / 0.

    Minc uses row sums, which give the same quotient but overflow float16 at n = 256.
    """
    m = abs(a)
    r = namespace(a).mean(m, axis=-1, keepdims=True)  # (..., n, 1)
    return amax(m @ r / _one_for_zero(r), -2) * _rounding_margin(a)


def _frobenius_of_powers(a: Array, squarings: int) -> Array:
    """Return ‖A^{2^s}‖_F^{1/2^s} = (Σ w^{2p})^{1/2p}, p = 2^s, which gets tighter with s.

    s: the number of squarings. Each square is divided by its norm before the next one, so that
    none leaves the range of float16.
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
    """Return ‖A v‖ after power iteration times a margin, but at most the Frobenius norm.

    v = A v / ‖A v‖ from v_i = 1 + cos i. This start is close to the leading eigenvector of positive
    features, and not orthogonal to any eigenvector that occurs in practice. ‖A v‖ approaches the
    largest eigenvalue from below and grows with every step.
    """
    xp = namespace(a)
    v = 1 + xp.cos(xp.cumsum(xp.ones_like(a[..., :1]), -2))  # (..., n, 1)
    for _ in range(_POWER_STEPS + 1):
        v = v / _one_for_zero(frobenius_norm(v))
        v = a @ v
    return xp.minimum(frobenius_norm(v) * _POWER_MARGIN, frobenius_norm(a) * _rounding_margin(a))
