"""Spectra, and the reproducible arithmetic that turns them into matrices.

To give the same bits on every machine, the functions use only addition, subtraction,
multiplication, division, square roots and integers, one rounding per NumPy operation, and sums in a
fixed order. They avoid BLAS and einsum, which may fuse or reorder operations, `np.sum`, whose
pairwise blocks depend on the vector unit, and exp and log of the C library. Powers are computed by
`decimal`, whose `ln` and `exp` are correctly rounded by its specification.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from mssbench.problems.rng import Floats, Streams

_DIGITS = 30  # decimal digits of intermediate results; a float64 needs 17
_CACHE_BYTES = 1 << 20  # matrices processed at once, which should fit the cache of a core


def decimal_power(base: float, exponent: Decimal) -> float:
    """Return base to the power of exponent, rounded once to float64."""
    with localcontext() as context:
        context.prec = _DIGITS
        return float((Decimal(base).ln() * exponent).exp())


@lru_cache(maxsize=64)
def logspaced(n: int, condition: float) -> tuple[float, ...]:
    """Return n values from 1 to 1 / condition in equal ratios, condition^(-i / (n - 1))."""
    with localcontext() as context:
        context.prec = _DIGITS
        steps = [-Decimal(i) / Decimal(max(n - 1, 1)) for i in range(n)]
    return tuple(decimal_power(condition, step) for step in steps)


@lru_cache(maxsize=64)
def powers(n: int, p: float) -> tuple[float, ...]:
    """Return (i + 1)^-p for i = 0, ..., n - 1."""
    return tuple(decimal_power(float(i + 1), -Decimal(p)) for i in range(n))


def clustered(n: int, m: int, gap: float, condition: float) -> tuple[float, ...]:
    """Return n values in m clusters with log-spaced centres c_k; member j is c_k (1 + gap j).

    Value i is in cluster floor(i m / n), so that every n >= m is possible: the clusters have
    floor(n / m) or ceil(n / m) members.
    """
    centre = logspaced(m, condition)
    which = [i * m // n for i in range(n)]
    return tuple(centre[k] * (1 + gap * (i - which.index(k))) for i, k in enumerate(which))


def sequential_sum(x: Floats) -> Floats:
    """Return the sum over the last axis, added from first to last."""
    total: Floats = np.add.accumulate(x, axis=-1)[..., -1]
    return total


def reflections(n: int) -> int:
    """Return the number of Householder reflections of a random rotation.

    k reflections change a diagonal matrix in at most k directions, so that few of them leave most
    eigenvectors close to the axes. From n = 128 on the number therefore grows with n.
    """
    return 4 if n < 128 else n // 8


def rotate(spectrum: Floats | tuple[float, ...], rng: Streams) -> Floats:
    """Return A = H_k ... H_1 diag(spectrum) H_1 ... H_k, (b, n, n), H = I - 2 v vᵀ / vᵀv, random v.

    k is `reflections(n)`. Each step is the symmetric update A - v wᵀ - w vᵀ with
    u = 2 A v / vᵀv, w = u - v (uᵀv / vᵀv). Its rounding errors are about 1e-16 of the largest
    eigenvalue, so that zero eigenvalues do not stay exactly zero.
    """
    values = np.asarray(spectrum, dtype=np.float64)
    n = len(values)
    v = rng.normal(reflections(n), n)  # (b, k, n)
    vv = sequential_sum(v * v)

    def one(part: slice) -> Floats:
        a = np.zeros((len(v[part]), n, n))
        a[:, np.arange(n), np.arange(n)] = values
        for k in range(v.shape[1]):
            a = _reflect(a, v[part, k], vv[part, k, None])
        return (a + a.swapaxes(1, 2)) * 0.5

    return by_parts(one, len(rng), n)


def _reflect(a: Floats, v: Floats, vv: Floats) -> Floats:
    """Return H A H; `a` may be overwritten. a: (c, n, n), symmetric. v: (c, n). vv: (c, 1), vᵀv."""
    u = np.zeros_like(v)
    for k in range(v.shape[1]):
        u += a[:, k] * v[:, k, None]
    u *= 2.0 / vv

    w = u - v * (sequential_sum(u * v)[:, None] / vv)
    outer = v[:, :, None] * w[:, None, :]
    outer += outer.swapaxes(1, 2).copy()
    a -= outer
    return a


def gram(x: Floats) -> Floats:
    """Return the covariance of N samples, centred and divided by N: (b, N, n) -> (b, n, n)."""
    b, count, n = x.shape
    mean = np.zeros((b, n))
    for k in range(count):
        mean += x[:, k]
    covariance: Floats = moment(x - (mean / count)[:, None, :]) / count
    return covariance


def moment(x: Floats) -> Floats:
    """Return XᵀX, the sum of the outer products of the samples: (b, N, n) -> (b, n, n)."""
    b, count, n = x.shape

    def one(part: slice) -> Floats:
        rows = x[part]
        a, outer = np.zeros((2, len(rows), n, n))
        for k in range(count):
            np.multiply(rows[:, k, :, None], rows[:, k, None, :], out=outer)
            a += outer
        return a

    return by_parts(one, b, n)


def by_parts(work: Callable[[slice], Floats], batch: int, n: int) -> Floats:
    """Apply `work` to slices of the batch that fit the cache, and concatenate the results.

    The bits of the result do not depend on the slices.
    """
    step = max(1, _CACHE_BYTES // (8 * n * n))
    parts = [work(slice(i, min(i + step, batch))) for i in range(0, batch, step)]
    whole: Floats = np.concatenate(parts)
    return whole
