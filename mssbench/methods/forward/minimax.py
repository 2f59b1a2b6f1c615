"""Square root by the coupled iteration with minimax factors."""

from math import sqrt
from typing import Literal

from mssbench.arrays import Array, product_unit
from mssbench.methods.coupled import iterate, products
from mssbench.methods.method import Root, Steps, Wanted
from mssbench.methods.minimax import plan, taylor
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward

# The error allowed for a schedule, in units of rounding. As a function of the eigenvalue the error
# oscillates some hundred times over the interval, and autodiff takes its derivative. A thousandth
# of the rounding error keeps this derivative below it as well.
_RIPPLE = 1e-3


@register_forward(
    cite="Amsel et al., The Polar Express, arXiv 2505.16932; Grishina et al., CANS, "
    "arXiv 2506.10935; on the coupled iteration of Higham, Functions of Matrices, SIAM 2008",
    products=lambda degree, iterations, finish, norm, **_: products(
        [taylor(degree)] * iterations + [taylor(min(degree, 5))] * finish, norm
    ),
)
def minimax(
    a: Array,
    wanted: Wanted,
    *,
    degree: Literal[3, 5, 9] = 5,
    iterations: Steps = 4,
    lower: float = 0.0,
    finish: int = 1,
    norm: Norm = "min_ws_minc",
) -> Root:
    """Coupled iteration whose factors are the best for all spectra between lower² c and c.

    Y = A / c, Z = I;  for the minimax factors h_i in turn: T = h_i(Z Y),  Y, Z = Y T, T Z;
    A^{1/2} = √c Y,  A^{-1/2} = Z / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. degree: that of x h(x²)
    for the `iterations` minimax factors. finish: the number of Taylor factors after them, which
    reduce the remaining error. lower: the factors are for eigenvalues w with √(w/c) >= lower; 0 for
    the least value for which the steps suffice and that rounding allows. iterations: "auto" for as
    many as this `lower` needs, or for 0 the least value that rounding allows. Their number depends
    on the precision alone, and no matrix is inspected.
    Raises Unsupported if the steps are too few for `lower`.
    """
    x, root_c = normalized(a, norm)
    # In a null direction rounding causes eigenvalues of about -u √n. Their x² grows by the square
    # of P'(0), which is 2.2 to 3.7 over `lower`, and beyond 1 the iteration diverges.
    unit, n = product_unit(a), a.shape[-1]
    made = plan(
        degree, iterations, lower, finish, error=_RIPPLE * unit, floor=3 * sqrt(unit * sqrt(n))
    )
    return iterate(x, root_c, made.factors, wanted)
