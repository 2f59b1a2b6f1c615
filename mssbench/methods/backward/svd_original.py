"""Gradient of the eigendecomposition by the exact formula, without a remedy."""

from mssbench.arrays import Array
from mssbench.methods.backward.spectral import gradient, remedy
from mssbench.methods.method import Function, Root


@remedy(
    cite="Ionescu, Vantzos & Sminchisescu, Matrix Backpropagation, ICCV 2015; "
    "Song, Sebe & Wang, ICCV 2021 (SVD-Original)",
    at_singular="null eigenvalues are equal, and the gradient is NaN",
)
def svd_original(root: Root, function: Function, g: Array) -> Array:
    """Derivative of the eigenvectors, K(p, q) = 1 / (p - q): exact for distinct eigenvalues.

    S = V (L ∘ (Vᵀ G V)) Vᵀ with L_ii = f'(w_i), and L_ij = K(p, q) (f(p) - f(q)) for i ≠ j, where
    p > q are the eigenvalues i and j. f(w) = √w, and 1/√w for the inverse root.

    g: (..., n, n). For equal eigenvalues L is ∞ · 0 and the gradient NaN; for nearly equal ones the
    rounding errors of Vᵀ G V are divided by p - q. The published layer is `svd_original_released`.
    """
    return gradient(root, function, g, lambda p, q: 1 / (p - q))
