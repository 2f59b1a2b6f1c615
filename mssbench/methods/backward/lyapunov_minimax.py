"""Gradient by minimax factors for the matrix sign of a block matrix."""

from math import sqrt
from typing import Literal

from mssbench.arrays import Array, eye_like, namespace, plus, product_unit, symmetrize, transpose
from mssbench.methods.backward.implicit import lyapunov_solver
from mssbench.methods.method import Steps
from mssbench.methods.minimax import Factor, plan
from mssbench.methods.norms import power_of_four, upper_bound

_PRODUCTS = {3: 5, 5: 7, 9: 10}  # products of one step, by degree


@lyapunov_solver(
    cite="this project: the block matrix of Lin & Maji, BMVC 2017, with the factors of Amsel et "
    "al., The Polar Express, arXiv 2505.16932",
    products=lambda degree, iterations, finish, **_: max(
        _PRODUCTS[degree] * iterations + _PRODUCTS[min(degree, 5)] * finish - 1.0, 1.0
    ),
)
def lyapunov_minimax(
    y: Array,
    r: Array,
    *,
    degree: Literal[3, 5, 9] = 5,
    iterations: Steps = 6,
    lower: float = 0.0,
    finish: int = 0,
) -> Array:
    """Lyapunov solve by minimax polynomials: the accuracy of Newton–Schulz in 1/3 of the products.

    The sign of M = [[B, C], [0, -B]] is [[I, S'], [0, -I]] with B S' + S' B = 2 C, and a step with
    factor h is M <- M h(M²), where M² = [[B², D], [0, B²]], D = B C - C B:
    H = h(B²) and K, the corner of h(M²);  C = sym(B K + C H),  B = B H;  S = C / 2 in the end.

    y, r: (..., n, n), symmetric. B = Y / c, C = R / c, where c² is a bound of the eigenvalues of
    Y². degree: of x h(x²) for the `iterations` minimax factors, after which `finish` Taylor factors
    follow.
    lower: the schedule is for eigenvalues d of Y with d / c >= lower; 0 for the least value that
    the steps allow. iterations: "auto" for as many as `lower` needs, or the least value that
    rounding allows. The gradient is multiplied by (P(b_i) + P(b_j)) / 2 in the eigenbasis, where P
    is the composed polynomial and b = d / c.
    Raises Unsupported if the steps are too few for `lower`.
    """
    xp = namespace(y)
    p = power_of_four(y)  # scaled first, so that squares neither overflow nor underflow
    b, s = symmetrize(y) / p, r / p  # the asymmetry that a forward iteration leaves would grow
    b2 = b @ b
    c2 = upper_bound(b2, "min_ws_minc")
    c = xp.sqrt(c2)
    b, b2, s = b / c, b2 / c2, s / c

    unit, n = product_unit(y), y.shape[-1]
    made = plan(degree, iterations, lower, finish, error=2 * unit, floor=3 * sqrt(unit * sqrt(n)))

    eye = eye_like(y)
    for left, factor in zip(range(len(made.factors) - 1, -1, -1), made.factors, strict=True):
        h, k = _polynomial(factor, b2, _skew(b @ s), eye)
        s = symmetrize(b @ k + s @ h)
        if left:
            b = b @ h
            b2 = b @ b
    return s / 2


def _skew(x: Array) -> Array:
    return x - transpose(x)


def _polynomial(c: Factor, u: Array, d: Array, eye: Array) -> tuple[Array, Array]:
    """Return diagonal and corner of h([[U, D], [0, U]]) for symmetric U and skew-symmetric D.

    (U, D) (U', D') = (U U', U D' + D U'). For a square the corner U D + D U is U D - (U D)ᵀ, which
    saves a product.
    """
    h, k = plus(c[0] * eye, c[1], u), c[1] * d
    if len(c) == 2:
        return h, k

    u2, d2 = u @ u, _skew(u @ d)
    h, k = plus(h, c[2], u2), plus(k, c[2], d2)
    if len(c) == 3:
        return h, k

    u1, d1 = plus(c[3] * u, c[4], u2), plus(c[3] * d, c[4], d2)
    return h + u1 @ u2, k + u1 @ d2 + d1 @ u2
