"""Gradient of the eigendecomposition with a lower bound on the gaps between eigenvalues."""

from mssbench.arrays import Array
from mssbench.methods.backward.spectral import gradient, remedy
from mssbench.methods.method import Function, Root


@remedy(
    cite="Wang, Dang, Hu, Fua & Salzmann, Robust Differentiable SVD, IEEE TPAMI 44 (2022), "
    "the clipped variant",
    inexact="damped wherever two eigenvalues are closer than an absolute gap",
)
def svd_clip(
    root: Root, function: Function, g: Array, *, gap: float = 0.01, smallest: float = 1e-5
) -> Array:
    """Derivative of the eigenvectors, K(p, q) = 1 / max(p - q, gap), eigenvalues >= smallest.

    S = V (L ∘ (Vᵀ G V)) Vᵀ with L_ii = f'(w_i), and L_ij = K(p, q) (f(p) - f(q)) for i ≠ j, where
    p >= q are the eigenvalues i and j. f(w) = √w, and 1/√w for the inverse root.

    g: (..., n, n). Smaller eigenvalues are raised to `smallest`. Where p - q < gap, L_ij is the
    exact one times (p - q) / gap, which is 0 for equal eigenvalues. Both bounds are absolute, which
    is a drawback: the size of their effect depends on the scale of A.
    """
    assert root.eigen is not None
    w, v = root.eigen
    clipped = Root(eigen=(w.clip(smallest), v))
    return gradient(clipped, function, g, lambda p, q: 1 / (p - q).clip(gap))
