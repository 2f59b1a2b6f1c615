"""Inverse square root by the uncoupled Newton iteration (IterNorm)."""

from functools import partial

from mssbench.arrays import Array, eye_like, namespace
from mssbench.methods import norms
from mssbench.methods.method import AUTO, Root, Steps
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import StoppingState, distance_to_identity


@register_forward(
    cite="Huang et al., Iterative Normalization, CVPR 2019; Bini, Higham & Meini, Algorithms for "
    "the matrix p-th root, Numer. Algorithms 39 (2005)",
    products=lambda iterations, norm: max(3.0 * iterations - 3, 1.0) + norms.products(norm),
    yields=("isqrt",),
)
def newton_inverse(a: Array, *, iterations: Steps = 5, norm: Norm = "trace") -> Root:
    """Uncoupled Newton for P^{-2} = A / c, the whitening of IterNorm. It is unstable.

    N = A / c, P = I;  k times: P = (3 P - P³ N) / 2;  A^{-1/2} = P / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. After convergence,
    rounding errors that do not commute with N are multiplied by (ρ + ρ²) / 2 - 1 in every step,
    where ρ² is the condition of A. They grow without bound from condition 2.44 on. In float64 this
    leaves 7 digits at condition 100 and 2 at 1000, if it stops in time. It takes 3 k - 3 products
    and yields only the inverse root. iterations: k; with "auto" each matrix stops when ‖P² N - I‖
    begins to grow, see stopping.py.
    """
    x, root_c = normalized(a, norm)
    if iterations == AUTO:
        return Root(isqrt=_settled(x) / root_c)
    p = eye_like(a)
    for step in range(iterations):
        p = 1.5 * p - 0.5 * (p @ p @ p @ x if step else x)
    return Root(isqrt=p / root_c)


def _settled(x: Array) -> Array:
    """Return P after every matrix has stopped, which happens before rounding errors grow."""
    eye = eye_like(x)
    stop = StoppingState(x, monotone=True)
    p, p2x = eye + 0 * x, x  # P and P² N

    while stop.goes_on:
        new = 1.5 * p - 0.5 * (p @ p2x)
        new_p2x = new @ new @ x
        moved = stop.moved(partial(distance_to_identity, new_p2x, eye))
        p, p2x = namespace(x).where(moved, new, p), namespace(x).where(moved, new_p2x, p2x)
    return p
