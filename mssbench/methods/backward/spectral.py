"""The derivative of an eigendecomposition, written once: what every SVD remedy replaces a part of.

With A = V diag(w) Vᵀ, the root Y = V diag(f) Vᵀ and the cotangent U = 2 G V diag(f) of V,

    S = sym(V (F ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ),   F_ij = K(w_j, w_i),
    K(p, q) = 1 / (p - q), antisymmetric, 0 on the diagonal.

With K antisymmetric that is S = V (L ∘ (VᵀGV)) Vᵀ, where L_ij = K(p, q) (f(p) - f(q)) with p the
larger and q the smaller of w_i and w_j, and L_ii = f'(w_i): 0 at a tie where K is finite. Computed
is the first form, as published, since what K makes of rounding is the question. f is √w for the
root, 1/√w for its inverse.

K takes eigenvalues of at least 4 ε times the largest one, ε the spacing of the dtype at 1. Smaller
ones are rounding errors of zeros, and their f and f' are 0 in the gradient of the root. The
published layers take ε itself, by which a scaled matrix does not have a scaled gradient, and a K
that is symmetric at ties: `mssbench.methods.backward.released`.
"""

from collections.abc import Callable
from functools import partial

from mssbench.arrays import Array, amax, epsilon, eye_like, namespace, symmetrize, transpose
from mssbench.methods.decomposition import NULL
from mssbench.methods.method import LAPACK_PRECISIONS, Function, Root
from mssbench.methods.registry import register_backward

remedy = partial(
    register_backward,
    products=lambda **_: 4.0,
    reads=("eigen",),
    only=True,
    precisions=LAPACK_PRECISIONS,
)


def gradient(root: Root, function: Function, g: Array, k: Callable[[Array, Array], Array]) -> Array:
    """S with K(p, q), for p >= q > 0, in place of 1 / (p - q).

    g: (..., n, n), symmetric; p, q: (..., n, n). On the diagonal, where K counts for nothing, q is
    0 so that it divides by nothing either.
    """
    w, v = eigenpairs(root)
    xp = namespace(w)
    f, slope = values(function, w)
    if (
        function == "isqrt"
    ):  # no gradient of a root that does not exist, whatever `floor` makes of w
        assert root.eigen is not None
        f = xp.where(root.eigen[0] > 0, f, xp.nan)
    eye = eye_like(v)
    wi, wj = w[..., :, None], w[..., None, :]
    p, q = xp.maximum(wi, wj), xp.minimum(wi, wj) * (1 - eye)
    antisymmetric = k(p, q) * xp.sign(wj - wi)  # F
    vt = transpose(v)
    factor = xp.where(eye == 1, slope[..., None], 2 * antisymmetric)
    # f is taken into V: with K, or with f'/f, its product leaves the range of float32 at 1e26
    return v @ symmetrize(factor * (vt @ g @ (v * f[..., None, :]))) @ vt


def eigenpairs(root: Root) -> tuple[Array, Array]:
    """(w, V) with w at least 4 ε times the largest: (..., n), (..., n, n)."""
    assert root.eigen is not None
    w, v = root.eigen
    return namespace(w).maximum(w, floor(w)), v


def floor(w: Array) -> Array:
    """4 ε times the largest eigenvalue, (..., 1), as `decomposition.without_null` has it."""
    return NULL * epsilon(w) * amax(w, -1)


def values(function: Function, w: Array) -> tuple[Array, Array]:
    """f(w) and f'(w) / f(w), (..., n), of eigenvalues from `eigenpairs`."""
    xp = namespace(w)
    if function == "isqrt":
        return 1 / xp.sqrt(w), -0.5 / w
    return xp.where(w <= floor(w), 0.0, xp.sqrt(w)), 0.5 / w
