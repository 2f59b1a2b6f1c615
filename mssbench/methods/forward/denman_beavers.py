"""Square root by the Denman–Beavers iteration."""

from mssbench.arrays import Array, eye_like, inverse, namespace
from mssbench.methods.method import LAPACK_PRECISIONS, Root, Wanted
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Denman & Beavers, Appl. Math. Comput. 2 (1976); Higham, Functions of Matrices, §6.3",
    products=lambda iterations: max(2 * iterations - 2, 1) * 4 / 3,  # inverses of 8/3 n³ flop
    precisions=LAPACK_PRECISIONS,
    at_singular="it inverts A: rounding errors fill the null directions of its root",
)
def denman_beavers(a: Array, wanted: Wanted, *, iterations: int = 10) -> Root:
    """Newton's iteration for the matrix sign in coupled form: two inverses a step.

    Y = A, Z = I;  k times: Y, Z = (Y + Z^{-1}) / 2, (Z + Y^{-1}) / 2;  A^{1/2} = Y, A^{-1/2} = Z.

    a: (..., n, n), nonsingular; the roots of a singular matrix are not finite. Needs no bound of
    the spectrum; unscaled, so an eigenvalue far from 1 takes log2 √w steps to arrive. A power of
    4 puts the largest ones near 1.
    """
    p = power_of_four(a)
    y, z = a / p, eye_like(a)
    for step in range(1, iterations + 1):
        last = step == iterations
        y, z = (
            (y + inverse(z)) / 2 if not last or "sqrt" in wanted else y,
            (z + inverse(y)) / 2 if not last or "isqrt" in wanted else z,
        )
    root_p = namespace(p).sqrt(p)
    return Root(
        sqrt=y * root_p if "sqrt" in wanted else None,
        isqrt=z / root_p if "isqrt" in wanted else None,
    )
