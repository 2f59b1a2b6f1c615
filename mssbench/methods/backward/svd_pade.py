"""Gradient of the eigendecomposition with a Padé approximant."""

from mssbench.arrays import Array, namespace
from mssbench.methods.backward.spectral import gradient, remedy
from mssbench.methods.method import Function, Root


@remedy(
    cite="Song, Sebe & Wang, Why Approximate Matrix Square Root Outperforms Accurate SVD in Global "
    "Covariance Pooling?, ICCV 2021 (SVD-Padé)"
)
def svd_pade(root: Root, function: Function, g: Array, *, degree: int = 50) -> Array:
    """Derivative of the eigenvectors, K(p, q) = P(r) / (Q(r) p), r = q / p, [m/m] of 1 / (1 - r).

    S = V (L ∘ (Vᵀ G V)) Vᵀ with L_ii = f'(w_i), and L_ij = K(p, q) (f(p) - f(q)) for i ≠ j, where
    p >= q are the eigenvalues i and j. f(w) = √w, and 1/√w for the inverse root.
    The m conditions on Q = 1 + Σ q_i r^i all say Σ q_i = -1, so that a solver returns rounding
    errors. The solution of least norm, used here, is q_i = -1 / m, p_i = 1 - i / m for i <= m.

    g: (..., n, n). degree = m >= 1. With these coefficients P(r) (1 - r) = Q(r), so that P / Q is
    1 / (1 - r) itself. The gradient differs from that of svd_original by rounding, about
    ε / (1 - r), and for equal eigenvalues, where L is 0. The published layer, with the coefficients
    of a solver, is `svd_pade_released`.
    """
    m = degree

    def k(p: Array, q: Array) -> Array:
        xp = namespace(p)
        r = q / p
        top, bottom = xp.zeros_like(r), xp.zeros_like(r)
        for i in range(m, 0, -1):
            top, bottom = (1 - i / m + top) * r, (bottom - 1 / m) * r
        return xp.where(q < p, (1 + top) / (1 + bottom) / p, 0.0)

    return gradient(root, function, g, k)
