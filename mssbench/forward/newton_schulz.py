"""Square root by the coupled Newton–Schulz iteration."""

from mssbench.arrays import Array, eye_like
from mssbench.bounds import Norm, normalized
from mssbench.registry import Root, Wanted, register_forward


@register_forward(
    cite="Higham, Functions of Matrices, SIAM 2008, ch. 6; Lin & Maji, BMVC 2017 (frobenius); "
    "Li et al., iSQRT-COV, CVPR 2018 (trace)",
    products=lambda iterations, **_: max(3.0 * iterations - 3, 1.0),  # of one root; both: 1 more
)
def newton_schulz(
    a: Array, wanted: Wanted, *, iterations: int = 5, norm: Norm = "frobenius"
) -> Root:
    """Coupled Newton–Schulz: batched products only, quadratic once it is close.

    Y = A / c, Z = I;  k times: T = (3 I - Z Y) / 2,  Y, Z = Y T, T Z;  A^{1/2} = √c Y,
    A^{-1/2} = Z / √c.

    a: (..., n, n). Converges for every positive definite A because c >= the largest eigenvalue;
    √(w/c) of an eigenvalue w grows by 1.5 per step until it is near 1: k ~ ln √(c/w) / ln 1.5 + 3.
    The order T Z matters: Z T diverges in floating point. Z = I saves two products in the first
    step and the last one skips the root nobody wants: 3 k - 3 for one root, 3 k - 2 for both.
    """
    y, root_c = normalized(a, norm)  # root_c: (..., 1, 1)
    eye = eye_like(a)
    z = None  # the identity, until it is something else
    for step in range(1, iterations + 1):
        t = (3 * eye - (y if z is None else z @ y)) / 2
        if step < iterations or "sqrt" in wanted:
            y = y @ t
        if step < iterations or "isqrt" in wanted:
            z = t if z is None else t @ z
    return Root(
        sqrt=y * root_c if "sqrt" in wanted else None,
        isqrt=(eye if z is None else z) / root_c if "isqrt" in wanted else None,
    )
