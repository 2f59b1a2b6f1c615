"""Inverse square root by the coupled inverse iteration of higher order (Shampoo)."""

from typing import Literal

from mssbench.arrays import Array
from mssbench.methods.coupled import inverse_iterate, inverse_settle, products
from mssbench.methods.method import AUTO, Root, Steps
from mssbench.methods.minimax import Factor, taylor
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import StoppingState


def _factors(iterations: int, order: int) -> list[Factor]:
    return [taylor(2 * order - 1)] * iterations


@register_forward(
    cite="Lakić, On the computation of the matrix k-th root, Z. Angew. Math. Mech. 78 (1998); "
    "Shi et al., Distributed Shampoo, arXiv 2309.06497",
    products=lambda iterations, order, norm: products(_factors(iterations, order), norm),
    yields=("isqrt",),
)
def inverse_newton_ho(
    a: Array, *, iterations: Steps = 8, order: Literal[2, 3, 4, 5] = 3, norm: Norm = "trace"
) -> Root:
    """Coupled inverse iteration with the series of M^{-1/2} at I as factor: order 2 is Newton's.

    M = A / c, X = I / √c;  k times: T = Σ_{i<order} b_i (I - M)^i,  X, M = X T, T² M;
    b_i = Π_{j<=i} (2 j - 1) / (2 j);  A^{-1/2} = X.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names, so that those of M are
    in (0, 1]. A small eigenvalue grows by (Σ b_i)² per step: 2.25, 3.52, 4.79 and 6.06 for order 2
    to 5, at 3, 4, 5 and 5 products. It yields only the inverse root. iterations: k, or "auto" for
    as many as each matrix needs until M is I, see stopping.py.
    """
    x, root_c = normalized(a, norm)
    if iterations == AUTO:
        factor = taylor(2 * order - 1)  # factor[0] is the growth of √w for small eigenvalues w
        return Root(isqrt=inverse_settle(x, factor, StoppingState(x, growth=factor[0])) / root_c)
    return Root(isqrt=inverse_iterate(x, _factors(iterations, order)) / root_c)
