"""Square root by the coupled Newton–Schulz iteration."""

from functools import partial

from mssbench.arrays import Array, eye_like
from mssbench.methods.coupled import iterate, polynomial, products, settle
from mssbench.methods.method import AUTO, Root, Steps, Wanted
from mssbench.methods.minimax import taylor
from mssbench.methods.norms import Norm, normalized, slope
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import StoppingState


@register_forward(
    cite="Higham, Functions of Matrices, SIAM 2008, ch. 6; Lin & Maji, BMVC 2017 (frobenius); "
    "Li et al., iSQRT-COV, CVPR 2018 (trace)",
    products=lambda iterations, norm: products([taylor(3)] * iterations, norm),
    yields=("sqrt", "isqrt", "iterates"),
)
def newton_schulz(
    a: Array, wanted: Wanted, *, iterations: Steps = 5, norm: Norm = "frobenius"
) -> Root:
    """Coupled Newton–Schulz iteration: batched products only, finally quadratic convergence.

    Y = A / c, Z = I;  k times: T = (3 I - Z Y) / 2,  Y, Z = Y T, T Z;  A^{1/2} = √c Y,
    A^{-1/2} = Z / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. The iteration converges
    for every positive definite A because c >= the largest eigenvalue. √(w/c) of an eigenvalue w
    grows by 1.5 per step until it is near 1, so that about k = ln √(c/w) / ln 1.5 + 3 steps are
    needed. It takes 3 k - 3 products for one root, 3 k - 2 for both. The field `iterates` starts
    with √c and the slope of c.
    iterations: k, or "auto" for as many as each matrix needs by its residual, see stopping.py,
    which takes one more product per step.
    """
    return taken(a, wanted, iterations, norm)


def taken(a: Array, wanted: Wanted, iterations: Steps, norm: Norm, *, reads: bool = True) -> Root:
    """Return the result of `newton_schulz`. reads: whether the host may read the residuals."""
    x, root_c = normalized(a, norm)  # root_c: (..., 1, 1)
    if iterations == AUTO:
        h = partial(polynomial, taylor(3), eye=eye_like(x))
        root = settle(x, root_c, h, wanted, StoppingState(x, reads=reads))
    else:
        root = iterate(x, root_c, [taylor(3)] * iterations, wanted)

    if "iterates" not in wanted:
        return root
    return root._replace(iterates=(root_c, *slope(root_c, norm), *root.iterates))
