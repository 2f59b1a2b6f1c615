"""Square root by the coupled iteration with minimax factors."""

from math import sqrt
from typing import Literal

from mssbench.arrays import Array, product_unit
from mssbench.methods.coupled import iterate, products
from mssbench.methods.method import Root, Steps, Wanted
from mssbench.methods.minimax import plan, taylor
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward

# The error of the last step ripples through the interval some hundred times, and autodiff takes its
# derivative: a thousandth of the rounding keeps that, too, below it.
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
    """Coupled iteration whose factors are the best for every spectrum between lower² c and c.

    Y = A / c, Z = I;  for the best h_i in turn: T = h_i(Z Y),  Y, Z = Y T, T Z.

    a: (..., n, n). degree of x h(x²) in the `iterations` best factors; `finish` Taylor factors then
    collapse what is left. lower bounds √(w/c) of the eigenvalues w that come out right; 0: the
    least that the steps can serve and rounding allows. iterations: "auto" for as many as serve all
    that rounding allows, or `lower`: the precision decides, and no matrix is looked at.
    Raises Unsupported where the steps cannot complete a schedule for `lower`.
    """
    x, root_c = normalized(a, norm)
    # Rounding makes eigenvalues of about -u √n out of a null direction; x² grows by the square of
    # P'(0), which is 2.2 to 3.7 over `lower`, and past 1 the iteration diverges.
    unit, n = product_unit(a), a.shape[-1]
    made = plan(
        degree, iterations, lower, finish, error=_RIPPLE * unit, floor=3 * sqrt(unit * sqrt(n))
    )
    return iterate(x, root_c, made.factors, wanted)
