"""Gradient of a truncated eigendecomposition, as the published layer computes it."""

from mssbench.arrays import Array, epsilon, namespace
from mssbench.errors import Unsupported
from mssbench.methods.backward.released import gradient, released
from mssbench.methods.method import Function, Root


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-TopN), the layer of DifferentiableSVD on GitHub",
    inexact="as released: the smallest eigenvalues are an absolute ε, and tie: K is the largest "
    "finite 1 / (p - q) of the batch between them, with one sign for both directions",
)
def svd_topn_released(root: Root, function: Function, g: Array, *, tail: int = 50) -> Array:
    """The published layer's svd_topn: the smallest `tail` eigenvalues are ε and tie.

    S = sym(V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ), U = 2 G V diag(f),
    K_ij = 1 / (w_i - w_j), and where w_i = w_j the largest finite K of the batch.

    g: (..., n, n). ε is the spacing of the dtype at 1, so that f' is 1 / (2 √ε) in the tail. With
    the forward `gcp_truncate_released` this is the whole layer; behind another one, the gradient of
    the layer at the root of that forward. The layer takes 50 whatever n is, and so leaves nothing
    of n <= 50. Raises Unsupported where the tail is the whole matrix. `svd_topn` has a relative ε,
    and 0 between the eigenvalues of its tail. The module `mssbench.methods.backward.released` lists
    all differences.
    """
    assert root.eigen is not None
    w, v = root.eigen
    n = w.shape[-1]
    if tail >= n:
        raise Unsupported(
            f"svd_topn_released sets {tail} eigenvalues of {n} to one number: take a shorter tail"
        )
    xp = namespace(w)
    count = xp.cumsum(xp.ones_like(w), -1)  # 1 to n; w comes ascending or descending
    from_below = xp.where(w[..., :1] <= w[..., -1:], count, n + 1 - count)
    truncated = Root(eigen=(xp.where(from_below <= tail, epsilon(w), w), v))
    return gradient(truncated, function, g, lambda wi, wj: 1 / (wi - wj))
