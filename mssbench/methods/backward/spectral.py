"""The derivative of an eigendecomposition, in which every SVD remedy replaces the factor K.

With A = V diag(w) Vᵀ, the root Y = V diag(f) Vᵀ and the cotangents G of Y, U = 2 G V diag(f) of V,

    S = sym(V (F ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ),   F_ij = K(w_j, w_i),
    K(p, q) = 1 / (p - q), antisymmetric, 0 on the diagonal.

For antisymmetric K this equals S = V (L ∘ (VᵀGV)) Vᵀ, where L_ij = K(p, q) (f(p) - f(q)), p is the
larger and q the smaller of w_i and w_j, and L_ii = f'(w_i). L is 0 between equal eigenvalues if K
is finite there. The first form is computed, as published, because the remedies differ in how K
amplifies rounding errors. f is √w for the root and 1/√w for the inverse root.

Eigenvalues are raised to at least 4 ε times the largest one before K is computed, where ε is the
spacing of the dtype at 1. Smaller ones are rounding errors of zeros; their f and f' are 0 in the
gradient of the root. The published layers use ε itself, with which the gradient does not scale with
the matrix, and a K that is symmetric between equal eigenvalues, see
`mssbench.methods.backward.released`.
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
    """Return S with k(p, q), for p >= q > 0, in place of 1 / (p - q).

    g: (..., n, n), symmetric; k: p, q -> K, (..., n, n) each. On the diagonal, where K is ignored,
    q is 0 so that k does not divide by zero.
    """
    w, v = eigenpairs(root)
    xp = namespace(w)
    f, slope = values(function, w)

    # An inverse root that does not exist has no gradient, although `floor` makes w positive.
    if function == "isqrt":
        assert root.eigen is not None
        f = xp.where(root.eigen[0] > 0, f, xp.nan)

    eye = eye_like(v)
    wi, wj = w[..., :, None], w[..., None, :]
    p, q = xp.maximum(wi, wj), xp.minimum(wi, wj) * (1 - eye)
    antisymmetric = k(p, q) * xp.sign(wj - wi)  # F
    vt = transpose(v)
    factor = xp.where(eye == 1, slope[..., None], 2 * antisymmetric)
    # f is absorbed into V, because its product with K or f'/f leaves the range of float32 at 1e26.
    return v @ symmetrize(factor * (vt @ g @ (v * f[..., None, :]))) @ vt


def eigenpairs(root: Root) -> tuple[Array, Array]:
    """Return (w, V), (..., n) and (..., n, n), with w raised to at least 4 ε times the largest."""
    assert root.eigen is not None
    w, v = root.eigen
    return namespace(w).maximum(w, floor(w)), v


def floor(w: Array) -> Array:
    """Return 4 ε times the largest eigenvalue, (..., 1), up to which eigenvalues count as zero."""
    return NULL * epsilon(w) * amax(w, -1)


def values(function: Function, w: Array) -> tuple[Array, Array]:
    """Return two arrays (..., n) for eigenvalues w from `eigenpairs`: f(w), and f'(w) / f(w).

    The function f is √w or 1/√w. Where √w is wanted, f(w) is 0 for w up to 4 ε times the largest
    eigenvalue, since such a w is the rounding error of a zero.
    """
    xp = namespace(w)
    if function == "isqrt":
        return 1 / xp.sqrt(w), -0.5 / w
    return xp.where(w <= floor(w), 0.0, xp.sqrt(w)), 0.5 / w
