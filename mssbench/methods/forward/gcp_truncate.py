"""Square root of a matrix whose smallest eigenvalues are truncated."""

from mssbench.arrays import Array, detach, epsilon, namespace, transpose
from mssbench.errors import Unsupported
from mssbench.methods import decomposition
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Song, Sebe & Wang, Why Approximate Matrix Square Root Outperforms Accurate SVD in Global "
    "Covariance Pooling?, ICCV 2021 (TopN)",
    products=lambda **_: 12.0,
    yields=("sqrt", "differential"),
    precisions=LAPACK_PRECISIONS,
    inexact="the root of another matrix, whose smallest eigenvalues are truncated",
    computes=NUMPY_IN_DOUBLE,
)
def gcp_truncate(a: Array, wanted: Wanted, *, drop: int = 1) -> Root:
    """Eigendecomposition with the smallest `drop` eigenvalues w set to u w_max.

    Y = V diag(√w') Vᵀ,  w'_i = u w_max for i <= drop, else w_i; w ascending, u the spacing of the
    dtype at 1.

    a: (..., n, n). The eigenvalues that are not dropped are used as they are, but those up to
    4 u w_max are rounding errors and become 0. The released code drops 50 whatever n is, and sets
    them to u itself, which is wrong for a matrix of small entries, see `gcp_truncate_released`.

    The backward `daleckii_krein` computes the exact gradient, in which u w_max is a constant. A
    dropped eigenvalue then has no gradient, but its eigenvector has one: the divided differences
    are (√w_i - √w'_j) / (w_i - w_j) for w_i kept and w_j dropped, and 0 if w_i = w_j. The gradient
    of `autodiff` is NaN for equal eigenvalues.
    Raises Unsupported if no eigenvalue would be left.
    """
    n = a.shape[-1]
    if drop >= n:
        raise Unsupported(f"drop = {drop} leaves none of the {n} eigenvalues of a matrix")

    xp = namespace(a)
    w, v = decomposition.eigh(a)
    w = decomposition.without_null(w, w[..., -1:])
    least = epsilon(a) * detach(w[..., -1:])
    d = xp.sqrt(xp.concatenate([0 * detach(w[..., :drop]) + least, w[..., drop:]], -1))

    differential: tuple[Array, ...] = ()
    if "differential" in wanted:
        nothing = xp.zeros_like(d)
        differential = (v, _differences(w, d, drop), nothing, nothing)
    return Root(sqrt=(v * d[..., None, :]) @ transpose(v), differential=differential)


def _differences(w: Array, d: Array, drop: int) -> Array:
    """Return (d_i - d_j) / (w_i - w_j), (..., n, n).

    It is 0 if both eigenvalues are dropped, or if one is dropped and w_i = w_j.
    """
    xp = namespace(w)
    kept = xp.cumsum(xp.ones_like(w), -1) > drop
    both = kept[..., :, None] & kept[..., None, :]
    one = kept[..., :, None] ^ kept[..., None, :]

    gaps = w[..., :, None] - w[..., None, :]
    one = one & (gaps != 0)
    across = (d[..., :, None] - d[..., None, :]) / xp.where(one, gaps, 1.0)
    return xp.where(both, 1 / decomposition.root_sums(d), xp.where(one, across, 0.0))
