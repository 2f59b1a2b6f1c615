"""Inverse square root by the coupled inverse Newton iteration (Shampoo)."""

from mssbench.arrays import Array
from mssbench.methods.coupled import inverse_iterate, inverse_settle, products
from mssbench.methods.method import AUTO, Root, Steps
from mssbench.methods.minimax import taylor
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import StoppingState


@register_forward(
    cite="Guo & Higham, A Schur–Newton method for the matrix p-th root, SIAM J. Matrix Anal. Appl. "
    "28 (2006); Iannazzo, ibid.; Anil et al., Scalable Second Order Optimization (Shampoo), 2020",
    products=lambda iterations, norm: products([taylor(3)] * iterations, norm),
    yields=("isqrt",),
)
def inverse_newton(a: Array, *, iterations: Steps = 10, norm: Norm = "frobenius") -> Root:
    """Newton for the inverse root X, coupled with M = X A X -> I; stable, unlike newton_inverse.

    ζ = 3 / (2 c), M = ζ A, X = √ζ I;  k times: T = (3 I - M) / 2,  X, M = X T, T² M;
    A^{-1/2} = X.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. The eigenvalues of M
    start in (0, 1.5], and Newton converges on all of (0, 3). They start 3/2 as large as those of
    Newton–Schulz, so that a small one needs fewer steps. It takes 3 k - 3 products, and yields only
    the inverse root.
    iterations: k, or "auto" for as many as each matrix needs until M is I, see stopping.py.
    """
    x, root_c = normalized(a, norm)
    if iterations == AUTO:
        z = inverse_settle(1.5 * x, taylor(3), StoppingState(x))
    else:
        z = inverse_iterate(1.5 * x, [taylor(3)] * iterations)
    return Root(isqrt=1.5**0.5 * z / root_c)
