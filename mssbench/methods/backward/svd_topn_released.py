"""Gradient of a truncated eigendecomposition, as DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, see released.py.
"""

from mssbench.arrays import Array, epsilon, namespace
from mssbench.errors import Unsupported
from mssbench.methods.backward.released import gradient, released
from mssbench.methods.method import Function, Root


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-TopN), the layer of DifferentiableSVD on GitHub",
    inexact="as released: the smallest eigenvalues are all an absolute ε, and K between them is "
    "the largest finite 1 / (p - q) of the batch, with one sign for both directions",
)
def svd_topn_released(root: Root, function: Function, g: Array, *, tail: int = 50) -> Array:
    """The published layer's svd_topn: the smallest `tail` eigenvalues are all set to ε.

    S = sym(V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ), U = 2 G V diag(f),
    K_ij = 1 / (w_i - w_j), or for w_i = w_j the largest finite K of the batch; K_ii = 0.

    g: (..., n, n). The tail is these eigenvalues. ε is the spacing of the dtype at 1, so that f' is
    1 / (2 √ε) in the tail. With the forward `gcp_truncate_released` this is the complete layer;
    with any other forward it is the layer's gradient at the eigenpairs of that forward. The layer
    uses a tail of 50 whatever n is, so that no eigenvalue is left for n <= 50. Raises Unsupported
    if the tail is the whole matrix. In `svd_topn` ε is relative to the largest eigenvalue, and
    pairs of eigenvalues of its tail contribute 0. The module `mssbench.methods.backward.released`
    defines the symbols and lists all differences.
    """
    assert root.eigen is not None
    w, v = root.eigen
    n = w.shape[-1]
    if tail >= n:
        raise Unsupported(
            f"svd_topn_released sets {tail} eigenvalues of {n} to one number: take a shorter tail"
        )

    xp = namespace(w)
    # Counted 1 to n from the smallest one; w is in ascending or descending order.
    count = xp.cumsum(xp.ones_like(w), -1)
    from_below = xp.where(w[..., :1] <= w[..., -1:], count, n + 1 - count)
    truncated = Root(eigen=(xp.where(from_below <= tail, epsilon(w), w), v))
    return gradient(truncated, function, g, lambda wi, wj: 1 / (wi - wj))
