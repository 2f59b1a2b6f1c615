"""Square root by the product form of the Denman–Beavers iteration."""

from functools import partial

from mssbench.arrays import (
    Array,
    detach,
    eye_like,
    frobenius_norm,
    inverse_and_log_determinant,
    namespace,
)
from mssbench.methods.method import AUTO, LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Steps, Wanted
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import StoppingState, distance_to_identity

# Below this ‖M - I‖_F the steps are not scaled: convergence is quadratic there without scaling.
_NEAR = 1e-2


@register_forward(
    cite="Cheng, Higham, Kenney & Laub, Approximating the logarithm of a matrix to specified "
    "accuracy, SIAM J. Matrix Anal. Appl. 22 (2001); Higham, Functions of Matrices, 2008, §6.3",
    # An inverse of 8/3 n³ flop in each step, and a product in all but the first.
    products=lambda iterations: max(iterations * 7 / 3 - 1, 1.0),
    precisions=LAPACK_PRECISIONS,
    at_singular="it inverts A: rounding errors fill the null directions of its root",
    computes=NUMPY_IN_DOUBLE,
)
def denman_beavers_product(a: Array, wanted: Wanted, *, iterations: Steps = 8) -> Root:
    """Denman–Beavers in product form with M = Y Z, and with scaling: one inverse per step.

    M = Y = A, Z = I;  k times:  μ² = |det M|^{-1/n}, but 1 near the end,
    T = μ (I + M^{-1} / μ²) / 2,  Y, Z, M = Y T, T Z, (I + (μ² M + M^{-1} / μ²) / 2) / 2;
    A^{1/2} = Y, A^{-1/2} = Z.

    a: (..., n, n), nonsingular; the roots of a singular matrix are not finite. It needs no bound of
    the spectrum. With scaling it takes 5 steps at condition 100, 7 at 10⁶, 8 at 10¹². Each root
    costs one product per step. The scaling is not differentiated, since the limit does not depend
    on it. iterations: k, or "auto" for as many as each matrix needs until M is I, see stopping.py.
    """
    xp = namespace(a)
    p = power_of_four(a)
    m, z, eye = a / p, None, eye_like(a)
    y = m
    stop = StoppingState(a, growth=2) if iterations == AUTO else None
    step, steps = 0, 0 if iterations == AUTO else iterations

    while stop.goes_on if stop else step < steps:
        step += 1
        before = y, z, m
        inverse, log_determinant = inverse_and_log_determinant(m)
        far = detach(frobenius_norm(m - eye)) >= _NEAR
        mu2 = xp.where(far, xp.exp(-detach(log_determinant) / a.shape[-1]), 1.0)
        mu, inverse = xp.sqrt(mu2), inverse / mu2

        t = mu / 2 * (eye + inverse)
        if "sqrt" in wanted:
            # In the first step Y = M, so that Y T needs no product.
            y = mu / 2 * (m + eye / mu2) if y is m else y @ t
        if "isqrt" in wanted:
            z = t if z is None else t @ z
        m = (eye + (mu2 * m + inverse) / 2) / 2
        if stop:
            moved = stop.moved(partial(distance_to_identity, m, eye))
            y, z, m = (_where(moved, *pair) for pair in zip((y, z, m), before, strict=True))

    root_p = xp.sqrt(p)
    return Root(
        sqrt=y * root_p if "sqrt" in wanted else None,
        isqrt=(eye if z is None else z) / root_p if "isqrt" in wanted else None,
    )


def _where(moved: Array, after: Array | None, before: Array | None) -> Array | None:
    """Return `after` for matrices that took the step, else `before`; all take the first step."""
    return after if before is None else namespace(moved).where(moved, after, before)
