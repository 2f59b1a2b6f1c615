"""Square root by the Denman–Beavers iteration."""

from functools import partial

from mssbench.arrays import Array, eye_like, inverse, namespace
from mssbench.methods.method import AUTO, LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Steps, Wanted
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import StoppingState, residual_of


@register_forward(
    cite="Denman & Beavers, Appl. Math. Comput. 2 (1976); Higham, Functions of Matrices, §6.3",
    products=lambda iterations: max(2 * iterations - 2, 1) * 4 / 3,  # inverses of 8/3 n³ flop
    precisions=LAPACK_PRECISIONS,
    at_singular="it inverts A: rounding errors fill the null directions of its root",
    computes=NUMPY_IN_DOUBLE,
)
def denman_beavers(a: Array, wanted: Wanted, *, iterations: Steps = 10) -> Root:
    """Newton's iteration for the matrix sign in coupled form: two inverses per step.

    Y = A, Z = I;  k times: Y, Z = (Y + Z^{-1}) / 2, (Z + Y^{-1}) / 2;  A^{1/2} = Y, A^{-1/2} = Z.

    a: (..., n, n), nonsingular; the roots of a singular matrix are not finite. It needs no bound of
    the spectrum. It is unscaled, so that an eigenvalue w far from 1 takes |log2 √w| steps to come
    near 1. Division by a power of 4 first brings the largest ones near 1. iterations: k, or "auto"
    for as many as each matrix needs by its residual, see stopping.py.
    """
    xp, p = namespace(a), power_of_four(a)
    x = a / p
    y, z = x, eye_like(a)
    stop = StoppingState(x, growth=2) if iterations == AUTO else None
    step, steps = 0, 0 if iterations == AUTO else iterations

    while stop.goes_on if stop else step < steps:
        step += 1
        last = stop.is_last if stop else step == steps
        after = (
            (y + inverse(z)) / 2 if not last or "sqrt" in wanted else y,
            (z + inverse(y)) / 2 if not last or "isqrt" in wanted else z,
        )
        if stop:
            moved = stop.moved(partial(residual_of, after[0], x))
            after = xp.where(moved, after[0], y), xp.where(moved, after[1], z)
        y, z = after

    root_p = xp.sqrt(p)
    return Root(
        sqrt=y * root_p if "sqrt" in wanted else None,
        isqrt=z / root_p if "isqrt" in wanted else None,
    )
