"""Square root by dynamically weighted Halley steps (QDWH)."""

from functools import lru_cache, partial
from math import prod, sqrt
from typing import TypeAlias

from mssbench.arrays import Array, eye_like, inverse, product_unit
from mssbench.errors import Unsupported
from mssbench.methods.coupled import cost, couple
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.minimax import CUT_SHORT, check_lower, two_digits_up
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward

Weights: TypeAlias = tuple[float, float, float]  # α, β, γ of x (α + β x²) / (1 + γ x²)
_NARROWEST = 1e-16  # the smallest allowed `lower`, for a condition of A of 1e32


@lru_cache(maxsize=256)
def weights(lower: float, steps: int) -> tuple[tuple[Weights, ...], float]:
    """Return the optimal weights of each step for x in [lower, 1], and the final lower end.

    After the steps all x are between that end and 1.
    """
    made, l = [], lower

    for _ in range(steps):
        e = (4 * (1 - l * l) / l**4) ** (1 / 3)
        root = sqrt(1 + e)
        a = root + sqrt(8 - 4 * e + 8 * (2 - l * l) / (l * l * root)) / 2
        b = (a - 1) ** 2 / 4
        c = a + b - 1
        made.append((a, b, c))
        l = min(l * (a + b * l * l) / (1 + c * l * l), 1.0)
    return tuple(made), l


@lru_cache(maxsize=256)
def widest(steps: int, unit: float, slope: float) -> float:
    """Return the smallest `lower` for which the steps end within `unit` of 1.

    The growth of small x is limited to `slope`, because rounding errors in null directions must not
    grow to the pole of a step, x² = -1 / γ.
    """
    low, high = -16.0, 0.0  # log10, bisected
    while high - low > 1e-2:
        middle = (low + high) / 2
        made, end = weights(10**middle, steps)
        if 1 - end <= unit and prod(a for a, _, _ in made) <= slope:
            high = middle
        else:
            low = middle

    return two_digits_up(10**high)


@register_forward(
    cite="Nakatsukasa, Bai & Gygi, Optimizing Halley's iteration for computing the matrix polar "
    "decomposition, SIAM J. Matrix Anal. Appl. 31 (2010); Higham, Functions of Matrices, 2008",
    products=lambda iterations, norm, **_: cost([4 / 3] * iterations, norm),
    precisions=LAPACK_PRECISIONS,
    computes=NUMPY_IN_DOUBLE,
)
def qdwh(
    a: Array, wanted: Wanted, *, iterations: int = 5, lower: float = 0.0, norm: Norm = "min_ws_minc"
) -> Root:
    """Halley's rational iteration with dynamic weights: cubic convergence, 5 steps in float64.

    Y = A / c, Z = I;  for the weights (α, β, γ) in turn:  W = Z Y,
    T = β/γ I + (α - β/γ) (I + γ W)^{-1},  Y, Z = Y T, T Z;  A^{1/2} = √c Y, A^{-1/2} = Z / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. lower: the weights are
    for eigenvalues w with √(w/c) >= lower; 0 for the least value for which the steps suffice and
    that rounding allows. The inverse is computed by LU, since Cholesky reads one triangle of W, and
    symmetrising W costs two or more digits of an ill-conditioned root. Raises Unsupported if the
    steps are too few for `lower`.
    """
    check_lower(lower, _NARROWEST)
    x, root_c = normalized(a, norm)
    if lower == 0:
        # In a null direction rounding causes eigenvalues of at most about -u √n, and usually less.
        # In experiments three times the slope that raises this to 1 did no harm, six times did.
        unit = product_unit(a)
        lower = widest(iterations, unit, 3 / sqrt(unit * sqrt(a.shape[-1])))
    made, end = weights(min(lower, 1.0), iterations)
    if iterations and 1 - end > CUT_SHORT:
        raise Unsupported(
            f"{iterations} steps end {1 - end:.2g} away from the root on [{lower:g}, 1]: take more "
            "iterations or a higher lower, or 0 to have it planned"
        )
    return couple(x, root_c, [partial(_step, each, eye_like(x)) for each in made], wanted)


def _step(weights: Weights, eye: Array, w: Array) -> Array:
    a, b, c = weights
    return b / c * eye + (a - b / c) * inverse(eye + c * w)
