"""Square root with truncated smallest eigenvalues, as the layer of DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, on GitHub.
"""

from mssbench.arrays import Array, detach, epsilon, namespace, transpose
from mssbench.errors import Unsupported
from mssbench.methods import decomposition
from mssbench.methods.decomposition import floored
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-TopN), the layer of DifferentiableSVD on GitHub",
    products=lambda **_: 20.0,
    yields=("sqrt", "eigen"),
    cuts_null=True,  # the pair must not cut eigenvalues again: the layer keeps all above its ε
    precisions=LAPACK_PRECISIONS,
    at_singular="its root has √ε in null directions",
    inexact="as released: the root of another matrix, whose smallest eigenvalues are an absolute ε",
    computes=NUMPY_IN_DOUBLE,
)
def gcp_truncate_released(a: Array, wanted: Wanted, *, drop: int = 50) -> Root:
    """The published TopN layer's forward: the smallest `drop` eigenvalues are set to ε.

    Y = V diag(√w') Vᵀ,  w'_i = ε for i <= drop, else max(w_i, ε); w ascending, ε the spacing of the
    dtype at 1.

    a: (..., n, n). The layer drops 50 whatever n is, so that no eigenvalue is left for n <= 50.
    Raises Unsupported if no eigenvalue would be left. Its eigenpairs are those of the truncated
    matrix, which the backward of the layer, `svd_topn_released`, takes. `gcp_truncate` uses ε times
    the largest eigenvalue in place of ε, and has an exact gradient.
    """
    n = a.shape[-1]
    if drop >= n:
        raise Unsupported(f"drop = {drop} leaves none of the {n} eigenvalues of a matrix")

    xp = namespace(a)
    _, s, vt = decomposition.svd(a)  # s descending
    least = 0 * detach(s[..., n - drop :]) + epsilon(s)
    w, v = xp.concatenate([floored(s[..., : n - drop]), least], -1), transpose(vt)
    return Root(
        sqrt=(v * xp.sqrt(w)[..., None, :]) @ vt if "sqrt" in wanted else None,
        eigen=(w, v),
    )
