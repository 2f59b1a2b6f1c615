"""Gradient of the eigendecomposition with an upper limit on the factors 1 / (p - q)."""

from mssbench.arrays import Array
from mssbench.methods.backward.spectral import gradient, remedy
from mssbench.methods.method import Function, Root


@remedy(
    cite="Song, Sebe & Wang, Why Approximate Matrix Square Root Outperforms Accurate SVD in Global "
    "Covariance Pooling?, ICCV 2021 (SVD-Trunc)",
    inexact="K is cut at an absolute limit: the gradient between equal eigenvalues is lost, and "
    "more of it for small matrices",
)
def svd_trunc(root: Root, function: Function, g: Array, *, limit: float = 1e10) -> Array:
    """Derivative of the eigenvectors, K(p, q) = min(1 / (p - q), limit).

    S = V (L ∘ (Vᵀ G V)) Vᵀ with L_ii = f'(w_i), and L_ij = K(p, q) (f(p) - f(q)) for i ≠ j, where
    p >= q are the eigenvalues i and j. f(w) = √w, and 1/√w for the inverse root.

    g: (..., n, n). Where p - q < 1 / limit, L is the exact one times (p - q) limit, which is 0 for
    equal eigenvalues, and the rounding errors of Vᵀ G V are multiplied by the limit. The limit is
    absolute, so that its effect depends on the scale of A. The published layer is
    `svd_trunc_released`.
    """
    return gradient(root, function, g, lambda p, q: (1 / (p - q)).clip(None, limit))
