"""Square root by the coupled iteration with factors fitted to each matrix (PRISM)."""

from functools import lru_cache, partial, reduce
from typing import Literal

import numpy as np

from mssbench.arrays import Array, detach, eye_like, from_numpy, namespace
from mssbench.methods.coupled import cost, couple, settle
from mssbench.methods.method import AUTO, Root, Steps, Wanted
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import StoppingState

# The interval of α by order. Its lower end is the Taylor coefficient, which is best for small R.
_INTERVAL = {1: (0.5, 1.0), 2: (0.375, 1.45)}
# E = I - W T² = e_0 + α e_1 + α² e_2 with W = I - R: coefficients of R, R², ... in each e.
_RESIDUAL = {
    1: ((1, 0, 0), (-2, 2, 0), (0, -1, 1)),
    2: ((0, 0.75, 0.25, 0, 0), (0, -2, 1, 1, 0), (0, 0, 0, -1, 1)),
}


@register_forward(
    cite="PRISM, arXiv 2601.22137; on the coupled iteration of Higham, Functions of Matrices, 2008",
    products=lambda iterations, order, sketch_size, norm: cost(
        [order - 1 if sketch_size else 2 * order] * iterations,
        norm,  # thin products with the sketch are not counted
    ),
)
def prism(
    a: Array,
    wanted: Wanted,
    *,
    iterations: Steps = 6,
    order: Literal[1, 2] = 2,
    sketch_size: int = 8,
    norm: Norm = "frobenius",
) -> Root:
    """Newton–Schulz with the last coefficient of each step fitted to minimise the next residual.

    Y = A / c, Z = I;  k times:  R = I - Z Y,  T = I + α R (order 1) or I + R / 2 + α R² (order 2),
    α = argmin ‖Ω (I - (I - R) T²)‖_F,  Y, Z = Y T, T Z;  A^{1/2} = √c Y, A^{-1/2} = Z / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. Each matrix has its own
    α, in [1/2, 1] or [3/8, 1.45], so that no knowledge of its spectrum is needed. Ω is a fixed
    Gaussian matrix, (sketch_size, n); for sketch_size = 0 it is I. α is not differentiated.
    iterations: k, or "auto" for as many as each matrix needs by its residual, see stopping.py.
    """
    x, root_c = normalized(a, norm)
    grid = from_numpy(np.linspace(*_INTERVAL[order], 64), like=a)
    omega = from_numpy(_gaussian(sketch_size, a.shape[-1]), like=a) if sketch_size else None
    step = partial(_step, eye=eye_like(a), order=order, omega=omega, grid=grid)
    if iterations == AUTO:
        return settle(x, root_c, step, wanted, StoppingState(x))
    return couple(x, root_c, [step] * iterations, wanted)


def _step(w: Array, *, eye: Array, order: int, omega: Array | None, grid: Array) -> Array:
    r = eye - w
    powers = [r] if order == 1 else [r, r @ r]
    seen = [detach(x) for x in powers] if omega is None else [omega @ detach(r)]
    alpha = fit(residual_norm(seen, detach(r), order), grid)
    return eye + alpha * r if order == 1 else eye + r / 2 + alpha * powers[1]


def residual_norm(powers: list[Array], r: Array, order: int) -> list[Array]:
    """Return the coefficients of the polynomial ‖Ω E‖_F² in α, ascending, (..., 1) each.

    E = I - (I - R) T² is the next residual; Ω, T and α are those of `prism`. powers: the first of
    Ω R, Ω R², ..., at least one; the higher ones in E are computed with r, which is R.
    order: the degree of T in R.
    """
    for _ in range(2 * order + 1 - len(powers)):
        powers = [*powers, powers[-1] @ r]
    e = [sum(c * x for c, x in zip(row, powers, strict=True) if c) for row in _RESIDUAL[order]]
    d = [[namespace(r).sum(x * y, axis=(-2, -1))[..., None] for y in e] for x in e]
    return [d[0][0], 2 * d[0][1], d[1][1] + 2 * d[0][2], 2 * d[1][2], d[2][2]]


def fit(q: list[Array], grid: Array) -> Array:
    """Return α, (..., 1, 1), that minimises the polynomial q between the ends of the grid."""
    xp = namespace(grid)
    # argmin returns the first of equal values, so that the Taylor coefficient is preferred. The
    # index keeps one dimension, because torch would read the value of an index without dimensions,
    # which is not possible inside torch.func.vmap.
    alpha = grid[xp.argmin(_horner(q, grid), -1)[..., None]]
    slope = [i * c for i, c in enumerate(q)][1:]
    curvature = [i * c for i, c in enumerate(slope)][1:]
    low = xp.maximum(alpha + grid[0] - grid[1], grid[0])
    high = xp.minimum(alpha + grid[1] - grid[0], grid[-1])

    # Newton's method from the best grid point; the errors are 1e-2, 1e-4, 1e-8, 1e-16.
    for _ in range(3):
        bend = _horner(curvature, alpha)
        newton = alpha - _horner(slope, alpha) / xp.where(bend > 0, bend, xp.inf)
        alpha = xp.minimum(xp.maximum(newton, low), high)
    return alpha[..., None]


def _horner(coefficients: list[Array], x: Array) -> Array:
    return reduce(lambda value, c: value * x + c, reversed(coefficients))


@lru_cache(maxsize=16)
def _gaussian(rows: int, n: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(0).standard_normal((rows, n)) / rows**0.5)
