"""Square root with the scaling eigen branch."""

from mssbench.arrays import Array, namespace, transpose
from mssbench.methods import decomposition
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Song, Sebe & Wang, On the Eigenvalues of Global Covariance Pooling for Fine-grained "
    "Visual Recognition, IEEE TPAMI 2022 (SEB)",
    products=lambda: 12.0,
    yields=("sqrt",),
    precisions=LAPACK_PRECISIONS,
    inexact="the root times a number that grows with its small eigenvalues",
    computes=NUMPY_IN_DOUBLE,
)
def gcp_seb(a: Array) -> Root:
    """The root times 1 + ‖M‖_F, where M weighs small eigenvalues more.

    Y = V diag(√w) Vᵀ,  S = V diag(e^{-w}) Vᵀ,  M = Y Sᵀ,  the result is Y (1 + ‖M‖_F);
    ‖M‖_F² = Σ w e^{-2w}.

    a: (..., n, n). The released code forms M and divides entry by entry, 0 / 0 where one is zero,
    to arrive at the same. Not homogeneous: the scale of A matters.
    """
    xp = namespace(a)
    w, v = decomposition.eigh(a)
    w = w.clip(0)
    d = xp.sqrt(w)
    d = d * (1 + xp.linalg.norm(d * xp.exp(-w), axis=-1, keepdims=True))
    return Root(sqrt=(v * d[..., None, :]) @ transpose(v))
