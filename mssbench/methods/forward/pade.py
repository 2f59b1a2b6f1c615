"""Square root by the diagonal Padé approximant (MPA)."""

from math import comb

from mssbench.arrays import Array, eye_like, solve
from mssbench.methods import norms
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward


def coefficients(m: int) -> tuple[list[float], list[float]]:
    """Return the coefficients of P and Q, ascending, of the [m/m] Padé approximant of √(1 - r).

    p_i = (-1/4)^i C(n - i, i) n / (n - i) with n = 2m + 1,  q_i = (-1/4)^i C(2m - i, i). P and Q
    are related to Chebyshev polynomials, so that their roots are known cosines. All coefficients
    are binary fractions and therefore exact.
    """
    n = 2 * m + 1
    p = [(-0.25) ** i * (comb(n - i, i) * n // (n - i)) for i in range(m + 1)]
    q = [(-0.25) ** i * comb(2 * m - i, i) for i in range(m + 1)]
    return p, q


def fraction(x: Array, m: int) -> tuple[Array, Array]:
    """Return P(I - X) and Q(I - X), (..., n, n) each, in m - 1 products."""
    eye = eye_like(x)
    r = eye - x
    p_coefficients, q_coefficients = coefficients(m)

    p, q, power = eye, eye, None
    for i in range(1, m + 1):
        power = r if power is None else power @ r
        p = p + p_coefficients[i] * power
        q = q + q_coefficients[i] * power
    return p, q


@register_forward(
    cite="Song, Sebe & Wang, Fast Differentiable Matrix Square Root, ICLR 2022 (MPA)",
    # Powers of R, and one LU solve.
    products=lambda degree, norm: max(degree - 1, 0) + 4 / 3 + norms.products(norm),
    precisions=LAPACK_PRECISIONS,
    at_singular="its root is not zero in null directions, where the gradient then is wrong",
    computes=NUMPY_IN_DOUBLE,
)
def pade(a: Array, wanted: Wanted, *, degree: int = 5, norm: Norm = "frobenius") -> Root:
    """Diagonal Padé approximant [m/m] of √(I - R), R = I - A / c: m - 1 products and a solve.

    A^{1/2} ≈ √c Q(R)^{-1} P(R),  A^{-1/2} ≈ P(R)^{-1} Q(R) / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. degree = m. The root of
    an eigenvalue w of A / c is computed as √w (1 + q) / (1 - q) with
    q = ((1 - √w) / (1 + √w))^(2m + 1). It is exact for w = 1, and the root of a null eigenvalue
    comes out as √c / (2m + 1).
    """
    x, root_c = normalized(a, norm)
    p, q = fraction(x, degree)
    return Root(
        sqrt=solve(q, p) * root_c if "sqrt" in wanted else None,
        isqrt=solve(p, q) / root_c if "isqrt" in wanted else None,
    )
