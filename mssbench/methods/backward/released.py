"""What the layers published with the SVD remedies compute, written once; each remedy adds its K.

The layers take A = V diag(w) Vᵀ from torch.svd, put every eigenvalue up to ε at ε, the spacing of
the dtype at 1, and differentiate the eigendecomposition with f = √w and the cotangent
U = 2 G V diag(f) of V:

    S = V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ,   K_ij in place of 1 / (w_i - w_j), K_ii = 0.

After each of the three stages, K, the matrix in brackets and S, an infinite number is replaced by
the largest or smallest of the others. Where they depart from the remedies of the same name:

- ε is absolute. A singular A has eigenvalues that tie exactly, at ε, and a scaled matrix does not
  have a scaled gradient. Ours cuts at 4 ε times the largest eigenvalue, and gives 0 to those below.
- K is symmetric where eigenvalues tie, since +0 is divided by: the rounding of the gradient between
  null directions is multiplied by it. Ours is antisymmetric, and so 0 there.
- The largest and the smallest number are those of the whole batch: at a tie, the gradient of one
  matrix depends on the others.

Where ours depart from the layers: these compute in float64 whatever the network's precision is, and
take the decomposition on the CPU; ours compute in the precision and on the device of the row. The
layers replace infinite numbers and NaN in the gradient of the features once more, which a backward
of A cannot see. A layer makes S symmetric on the way to the features; ours returns it so. For the
inverse root, which the layers do not offer, f is 1/√w.
"""

from collections.abc import Callable
from functools import partial

from mssbench.arrays import Array, diagonal, eye_like, namespace, symmetrize, transpose
from mssbench.methods.decomposition import floored
from mssbench.methods.method import LAPACK_PRECISIONS, Function, Root
from mssbench.methods.registry import register_backward

released = partial(
    register_backward,
    products=lambda **_: 4.0,
    reads=("eigen",),
    only=True,
    precisions=LAPACK_PRECISIONS,
    at_singular="null directions tie at ε, and what rounding leaves between them is multiplied",
)


def gradient(root: Root, function: Function, g: Array, k: Callable[[Array, Array], Array]) -> Array:
    """S with K(w_i, w_j), for w_i != w_j and w_i = w_j alike, in place of 1 / (w_i - w_j).

    g: (..., n, n), symmetric; k: (..., n, n), (..., 1, n) -> (..., n, n), its diagonal without
    meaning.
    """
    w, v = eigenpairs(root)
    vt = transpose(v)
    f, slope = values(function, w)
    gt = vt @ g @ v

    of_vectors = transpose(factors(w, k)) * (2 * gt * f[..., None, :])
    of_values = eye_like(v) * (slope * diagonal(gt))[..., None, :]
    inner = without_infinity(of_vectors + of_values)

    return symmetrize(without_infinity(v @ inner @ vt))


def factors(w: Array, k: Callable[[Array, Array], Array]) -> Array:
    """K of eigenvalues w, (..., n) -> (..., n, n): 0 on the diagonal, and no infinite number."""
    eye = eye_like(w)  # (n, n)
    # its diagonal is doubled, so that K, which counts for nothing there, divides by nothing either
    wi, wj = w[..., :, None] * (1 + eye), w[..., None, :]
    return without_infinity(namespace(w).where(eye == 1, 0.0, k(wi, wj)))


def eigenpairs(root: Root) -> tuple[Array, Array]:
    """(w, V) with w at least ε: (..., n), (..., n, n)."""
    assert root.eigen is not None
    w, v = root.eigen
    return floored(w), v


def values(function: Function, w: Array) -> tuple[Array, Array]:
    """f(w) and f'(w), (..., n)."""
    root = namespace(w).sqrt(w)
    return (root, 0.5 / root) if function == "sqrt" else (1 / root, -0.5 / root / w)


def without_infinity(x: Array) -> Array:
    """Return x with its largest other number for each +∞, and its smallest other for each -∞.

    x: any shape. Both are taken of the whole batch, as in the published layers.
    """
    xp = namespace(x)
    x = xp.where(x == xp.inf, xp.max(xp.where(x == xp.inf, -xp.inf, x)), x)
    return xp.where(x == -xp.inf, xp.min(xp.where(x == -xp.inf, xp.inf, x)), x)


def larger_and_ratio(wi: Array, wj: Array) -> tuple[Array, Array]:
    """±max(w_i, w_j), with + where w_i >= w_j, and the smaller over the larger: what a series has.

    wi: (..., n, n); wj: (..., 1, n). Of equal eigenvalues both signs are +, so that K is symmetric
    between them.
    """
    xp = namespace(wi)
    return xp.where(wi >= wj, wi, -wj), xp.minimum(wi, wj) / xp.maximum(wi, wj)
