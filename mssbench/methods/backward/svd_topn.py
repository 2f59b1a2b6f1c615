"""Gradient of the eigendecomposition without its smallest eigenvalues."""

from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.methods.backward.spectral import floor, gradient, remedy
from mssbench.methods.method import Function, Root


@remedy(
    cite="Song, Sebe & Wang, Why Approximate Matrix Square Root Outperforms Accurate SVD in Global "
    "Covariance Pooling?, ICCV 2021 (SVD-TopN)",
    inexact="the smallest eigenvalues are replaced by one constant",
)
def svd_topn(root: Root, function: Function, g: Array, *, tail: int = 50) -> Array:
    """Derivative of the eigenvectors, K(p, q) = 1 / (p - q), the smallest `tail` eigenvalues = ε.

    S = V (L ∘ (Vᵀ G V)) Vᵀ with L_ii = f'(w_i), and L_ij = K(p, q) (f(p) - f(q)) for i ≠ j, where
    p > q are the eigenvalues i and j. f(w) = √w, and 1/√w for the inverse root.

    g: (..., n, n). The tail is these smallest eigenvalues. ε is 4 times the spacing of the dtype
    times the largest eigenvalue. L_ij is 0 between two eigenvalues of the tail, and as in
    svd_original among the others, where it is not finite for equal eigenvalues. For the root, f and
    f' are 0 in the tail; for the inverse root they are those of ε. The forward is not truncated;
    the published layer is `gcp_truncate_released` with `svd_topn_released`. Raises Unsupported if
    the tail is the whole matrix.
    """
    assert root.eigen is not None
    w, v = root.eigen
    n = w.shape[-1]
    if tail >= n:
        raise Unsupported(f"svd_topn abandons {tail} eigenvalues of {n}: take a shorter tail")

    xp = namespace(w)
    # Counted 1 to n from the smallest one; w is in ascending or descending order.
    count = xp.cumsum(xp.ones_like(w), -1)
    from_below = xp.where(w[..., :1] <= w[..., -1:], count, n + 1 - count)
    epsilon = floor(w)
    kept = Root(eigen=(xp.where(from_below <= tail, epsilon, w), v))

    def k(p: Array, q: Array) -> Array:
        return xp.where(p > epsilon[..., None], 1 / (p - q), 0.0)

    return gradient(kept, function, g, k)
