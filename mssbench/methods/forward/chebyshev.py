"""Square root and inverse root by a Chebyshev series, summed by Clenshaw's recurrence."""

from functools import lru_cache

import numpy as np

from mssbench.arrays import Array, eye_like, plus
from mssbench.errors import Unsupported
from mssbench.methods import norms
from mssbench.methods.method import Root, Wanted
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward

# Points of the quadrature for the coefficients. Its error is that of a series with twice as many
# terms, which is e^{-65} for `lower` = 1e-6.
_POINTS = 2**14


@lru_cache  # the method calls this in every timed call
def coefficients(power: float, lower: float, degree: int) -> tuple[float, ...]:
    """Return the coefficients of T_0 to T_degree in the Chebyshev series of x^power on [lower, 1].

    They are computed by Gauss–Chebyshev quadrature, which is a discrete cosine transform.
    """
    angle = np.pi * (np.arange(_POINTS) + 0.5) / _POINTS
    values = ((1 + lower) / 2 + (1 - lower) / 2 * np.cos(angle)) ** power
    c = [2 * np.mean(values * np.cos(k * angle)) for k in range(degree + 1)]
    return (float(c[0]) / 2, *map(float, c[1:]))


@register_forward(
    cite="Modoranu et al., DASH: Faster Shampoo via Batched Block Preconditioning and Efficient "
    "Inverse-Root Solvers, arXiv 2602.02016, 2026; Clenshaw, Math. Tables Aids Comput. 9 (1955)",
    products=lambda degree, norm, **_: max(degree - 1.0, 1.0) + norms.products(norm),
    at_singular="its root is not zero in null directions, where the gradient then is wrong",
)
def chebyshev(
    a: Array,
    wanted: Wanted,
    *,
    degree: int = 20,
    lower: float = 0.01,
    norm: Norm = "min_ws_minc",
) -> Root:
    """Chebyshev series of x^{±1/2} by Clenshaw's recurrence: K - 1 products for each root.

    A^{±1/2} ≈ c^{±1/2} Σ_{k<=K} c_k T_k(X),  X = (2 A / c - (1 + l) I) / (1 - l), l = `lower`;
    B_k = 2 X B_{k+1} - B_{k+2} + c_k I.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. T_k: the Chebyshev
    polynomials. degree = K. The series approximates eigenvalues from l c to c, where its error
    falls by a factor (1 + √l) / (1 - √l) with each degree. The defaults are for condition 100,
    where the error of the inverse root is about 3 %. Below l c the series is not accurate. DASH
    uses the series of (x + l)^{-1/2} on [0, 1] instead, which amounts to a ridge l c, and has no
    series for the root.
    Raises Unsupported if l is not between 0 and 1.
    """
    if not 0 < lower < 1:
        raise Unsupported(f"lower = {lower} of chebyshev is not between 0 and 1")

    x, root_c = normalized(a, norm)
    shifted = plus(x * (2 / (1 - lower)), -(1 + lower) / (1 - lower), eye_like(x))
    return Root(
        sqrt=_series(coefficients(0.5, lower, degree), shifted) * root_c
        if "sqrt" in wanted
        else None,
        isqrt=_series(coefficients(-0.5, lower, degree), shifted) / root_c
        if "isqrt" in wanted
        else None,
    )


def _series(c: tuple[float, ...], x: Array) -> Array:
    """Return Σ c_k T_k(X), (..., n, n), in len(c) - 2 products."""
    eye = eye_like(x)
    if len(c) == 1:
        return c[0] * eye

    b, after = c[-1] * eye, 0 * eye  # B_K and B_{K+1}
    for k in range(len(c) - 2, -1, -1):
        doubled = 2.0 if k else 1.0  # the last step is X B_1 - B_2 + c_0 I
        product = c[-1] * x if k == len(c) - 2 else x @ b
        b, after = plus(doubled * product - after, c[k], eye), b
    return b
