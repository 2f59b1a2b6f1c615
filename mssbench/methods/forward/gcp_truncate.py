"""Square root without the smallest eigenvalues."""

from mssbench.arrays import Array, detach, epsilon, namespace, transpose
from mssbench.errors import Unsupported
from mssbench.methods import decomposition
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Song, Sebe & Wang, Why Approximate Matrix Square Root Outperforms Accurate SVD in Global "
    "Covariance Pooling?, ICCV 2021 (TopN)",
    products=lambda **_: 12.0,
    yields=("sqrt",),
    precisions=LAPACK_PRECISIONS,
    inexact="the root of another matrix, whose smallest eigenvalues are gone",
    computes=NUMPY_IN_DOUBLE,
)
def gcp_truncate(a: Array, *, drop: int = 1) -> Root:
    """Eigendecomposition with the smallest `drop` eigenvalues w set to u w_max.

    Y = V diag(√w') Vᵀ,  w'_i = u w_max for i <= drop, else w_i; w ascending, u the dtype's epsilon.

    a: (..., n, n). The released code drops 50, whatever n is, and sets them to u itself, which a
    matrix of small entries does not survive. Raises Unsupported where nothing would be left.
    """
    n = a.shape[-1]
    if drop >= n:
        raise Unsupported(f"drop = {drop} leaves no eigenvalue of size {n}")
    xp = namespace(a)
    w, v = decomposition.eigh(a)
    w = w.clip(0)
    least = epsilon(a) * detach(w[..., -1:])
    d = xp.sqrt(xp.concatenate([0 * detach(w[..., :drop]) + least, w[..., drop:]], -1))
    return Root(sqrt=(v * d[..., None, :]) @ transpose(v))
