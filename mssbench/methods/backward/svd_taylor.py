"""Gradient of the eigendecomposition with a truncated geometric series."""

from mssbench.arrays import Array, namespace
from mssbench.methods.backward.spectral import gradient, remedy
from mssbench.methods.method import Function, Root


@remedy(
    cite="Wang, Dang, Hu, Fua & Salzmann, Robust Differentiable SVD, IEEE TPAMI 44 (2022), K = 9; "
    "Song, Sebe & Wang, ICCV 2021 (SVD-Taylor), K = 100",
    inexact="a truncated series: the relative error of L is (q / p)^(degree + 1), which is 1 for "
    "equal eigenvalues",
)
def svd_taylor(root: Root, function: Function, g: Array, *, degree: int = 9) -> Array:
    """Derivative of the eigenvectors, K(p, q) = Σ_{i<=degree} (q / p)^i / p.

    S = V (L ∘ (Vᵀ G V)) Vᵀ with L_ii = f'(w_i), and L_ij = K(p, q) (f(p) - f(q)) for i ≠ j, where
    p >= q are the eigenvalues i and j. f(w) = √w, and 1/√w for the inverse root.

    g: (..., n, n). The relative error of L_ij is (q / p)^(degree + 1), so that the gradient between
    close eigenvalues is lost; |K| never exceeds (degree + 1) / p. The published layer is
    `svd_taylor_released`.
    """

    def k(p: Array, q: Array) -> Array:
        r = q / p
        series = namespace(r).ones_like(r)
        for _ in range(degree):
            series = 1 + r * series
        return series / p

    return gradient(root, function, g, k)
