"""Inverse square root by the uncoupled Newton iteration (IterNorm)."""

from functools import partial

from mssbench.arrays import Array, eye_like, namespace
from mssbench.methods import norms
from mssbench.methods.method import AUTO, Root, Steps
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import Stop, distance_to_identity


@register_forward(
    cite="Huang et al., Iterative Normalization, CVPR 2019; Bini, Higham & Meini, Algorithms for "
    "the matrix p-th root, Numer. Algorithms 39 (2005)",
    products=lambda iterations, norm: max(3.0 * iterations - 3, 1.0) + norms.products(norm),
    yields=("isqrt",),
)
def newton_inverse(a: Array, *, iterations: Steps = 5, norm: Norm = "trace") -> Root:
    """Newton for P^{-2} = A / c, one matrix only: whitening as IterNorm does it. Unstable.

    N = A / c, P = I;  k times: P = (3 P - P³ N) / 2;  A^{-1/2} = P / √c.

    a: (..., n, n). Once it has converged, rounding that does not commute with N grows by
    (ρ + ρ²) / 2 - 1 in every step, with ρ² the condition of A: from 2.44 on for ever. In float64
    that leaves 7 digits at condition 100 and 2 at 1000, if it stops in time. 3 k - 3 products; it
    gives the inverse root only. iterations: with "auto" each matrix stops when ‖P² N - I‖ begins to
    grow, see stopping.py.
    """
    x, root_c = normalized(a, norm)
    if iterations == AUTO:
        return Root(isqrt=_settled(x) / root_c)
    p = eye_like(a)
    for step in range(iterations):
        p = 1.5 * p - 0.5 * (p @ p @ p @ x if step else x)
    return Root(isqrt=p / root_c)


def _settled(x: Array) -> Array:
    """P once every matrix has stopped: before rounding grows, if it has converged by then."""
    eye = eye_like(x)
    stop = Stop(x, monotone=True)
    p, p2x = eye + 0 * x, x  # P and P² N
    while stop.goes_on:
        new = 1.5 * p - 0.5 * (p @ p2x)
        new_p2x = new @ new @ x
        moved = stop.moved(partial(distance_to_identity, new_p2x, eye))
        p, p2x = namespace(x).where(moved, new, p), namespace(x).where(moved, new_p2x, p2x)
    return p
