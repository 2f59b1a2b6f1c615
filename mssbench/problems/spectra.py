"""Spectra, and the exact arithmetic that turns them into matrices.

Bit for bit reproducible means: addition, subtraction, multiplication, division, square root and
integers only, each NumPy operation one rounding, and every sum in a stated order. No BLAS, no
einsum (both may fuse or reorder), no `np.sum` (pairwise, and its blocks depend on the vector
unit), no exp or log of the C library. Powers go through `decimal`, whose `ln` and `exp` are
correctly rounded by its specification.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from mssbench.problems.rng import Floats, Streams

_DIGITS = 30  # of decimal, against the 17 that a float64 needs
_CACHE_BYTES = 1 << 20  # matrices that are worked on at once should fit a core's cache


def decimal_power(base: float, exponent: Decimal) -> float:
    """Base to the power of exponent, rounded once to float64."""
    with localcontext() as context:
        context.prec = _DIGITS
        return float((Decimal(base).ln() * exponent).exp())


@lru_cache(maxsize=64)
def logspaced(n: int, condition: float) -> tuple[float, ...]:
    """Spectrum condition^(-i / (n - 1)): n values from 1 to 1 / condition in equal ratios."""
    with localcontext() as context:
        context.prec = _DIGITS
        steps = [-Decimal(i) / Decimal(max(n - 1, 1)) for i in range(n)]
    return tuple(decimal_power(condition, step) for step in steps)


@lru_cache(maxsize=64)
def powers(n: int, p: float) -> tuple[float, ...]:
    """(i + 1)^-p for i below n."""
    return tuple(decimal_power(float(i + 1), -Decimal(p)) for i in range(n))


def clustered(n: int, m: int, gap: float, condition: float) -> tuple[float, ...]:
    """Clusters c_k (1 + gap j), the m centres c_k log-spaced; value i is in cluster floor(i m / n).

    So every n >= m works: the clusters have floor(n / m) or ceil(n / m) members.
    """
    centre = logspaced(m, condition)
    which = [i * m // n for i in range(n)]
    return tuple(centre[k] * (1 + gap * (i - which.index(k))) for i, k in enumerate(which))


def sequential_sum(x: Floats) -> Floats:
    """Sum over the last axis, first to last."""
    total: Floats = np.add.accumulate(x, axis=-1)[..., -1]
    return total


def reflections(n: int) -> int:
    """How many Householder reflections a rotation takes.

    k reflections move at most k directions of a diagonal matrix, so few of them leave the
    eigenvectors close to the axes; from n = 128 on their number grows with n.
    """
    return 4 if n < 128 else n // 8


def rotate(spectrum: Floats | tuple[float, ...], rng: Streams) -> Floats:
    """(b, n, n): A = H_k ... H_1 diag(spectrum) H_1 ... H_k, H = I - 2 v vᵀ / vᵀv, random v.

    Each step is the symmetric update A - v wᵀ - w vᵀ with u = 2 A v / vᵀv, w = u - v (uᵀv / vᵀv).
    It leaves rounding of about 1e-16 of the largest eigenvalue: an exact zero does not survive.
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
    """H A H. a: (c, n, n), symmetric. v: (c, n). vv: (c, 1)."""
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
    """(b, N, n) -> (b, n, n): covariance of N samples, centred, divided by N."""
    b, count, n = x.shape
    mean = np.zeros((b, n))
    for k in range(count):
        mean += x[:, k]
    covariance: Floats = moment(x - (mean / count)[:, None, :]) / count
    return covariance


def moment(x: Floats) -> Floats:
    """(b, N, n) -> (b, n, n): XᵀX, the sum of the samples' outer products."""
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
    """`work` on slices of the batch that fit the cache. The bits do not depend on the slicing."""
    step = max(1, _CACHE_BYTES // (8 * n * n))
    parts = [work(slice(i, min(i + step, batch))) for i in range(0, batch, step)]
    whole: Floats = np.concatenate(parts)
    return whole
