"""Square root by the truncated Taylor series (MTP)."""

from mssbench.arrays import Array, eye_like
from mssbench.methods import norms
from mssbench.methods.method import Root
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward


def coefficients(degree: int) -> list[float]:
    """Return the Taylor coefficients t_i = t_{i-1} (i - 3/2) / i of √(1 - r), ascending."""
    t = [1.0]
    for i in range(1, degree + 1):
        t.append(t[-1] * (i - 1.5) / i)
    return t


@register_forward(
    cite="Song, Sebe & Wang, Fast Differentiable Matrix Square Root, ICLR 2022 (MTP)",
    products=lambda degree, norm: max(degree - 1.0, 1.0) + norms.products(norm),
    yields=("sqrt",),
    at_singular="its root is not zero in null directions, where the gradient then is wrong",
)
def taylor(a: Array, *, degree: int = 10, norm: Norm = "frobenius") -> Root:
    """Matrix Taylor polynomial of √(I - R), R = I - A / c: K - 1 products, no inverse root.

    A^{1/2} ≈ √c Σ_{i<=K} t_i R^i with t_0 = 1, t_i = t_{i-1} (i - 3/2) / i.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. degree = K. The result
    is exact for eigenvalues equal to c, and the root of a null eigenvalue comes out as
    √c C(2K, K) / 4^K. `taylor_paterson_stockmeyer` evaluates the same polynomial in fewer products.
    """
    x, root_c = normalized(a, norm)
    eye = eye_like(a)
    r = eye - x

    y, power = eye, None
    for t in coefficients(degree)[1:]:
        power = r if power is None else power @ r
        y = y + t * power
    return Root(sqrt=y * root_c)
