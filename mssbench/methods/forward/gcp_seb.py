"""Square root with the scaling eigen branch."""

from mssbench.arrays import Array, namespace, transpose
from mssbench.methods import decomposition
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Song, Sebe & Wang, On the Eigenvalues of Global Covariance Pooling for Fine-grained "
    "Visual Recognition, IEEE TPAMI 2022 (SEB)",
    products=lambda: 12.0,
    yields=("sqrt", "differential"),
    precisions=LAPACK_PRECISIONS,
    inexact="the root times a factor that grows with its small eigenvalues",
    computes=NUMPY_IN_DOUBLE,
)
def gcp_seb(a: Array, wanted: Wanted) -> Root:
    """The root times 1 + ‖M‖_F, where M gives small eigenvalues more weight.

    Y = V diag(√w) Vᵀ,  S = V diag(e^{-w}) Vᵀ,  M = Y Sᵀ,  the result is Y (1 + ‖M‖_F);
    φ² = ‖M‖_F² = Σ w e^{-2w}.

    a: (..., n, n). Eigenvalues up to 4 ε times the largest one count as 0. The function is not
    homogeneous: its result depends on the scale of A. The backward `daleckii_krein` computes its
    exact gradient, (1 + φ) S + <G, Y> V diag((1 - 2w) e^{-2w} / (2φ)) Vᵀ, where S is the gradient
    of the root; that of `autodiff` is NaN for equal eigenvalues. The released code forms M and
    divides entry by entry for the same result, see `gcp_seb_released`.
    """
    xp = namespace(a)
    w, v = decomposition.eigh(a)
    w = decomposition.without_null(w, w[..., -1:])
    d = xp.sqrt(w)

    weighted = d * xp.exp(-w)
    phi = xp.linalg.norm(weighted, axis=-1, keepdims=True)
    scaled = (d * (1 + phi))[..., None, :]

    differential: tuple[Array, ...] = ()
    if "differential" in wanted:
        slope = xp.exp(-2 * w) * (0.5 - w) / xp.where(phi > 0, phi, 1.0)
        slope = xp.where(w > 0, slope, 0.0)  # the gradient between null directions does not exist
        differences = (1 + phi)[..., None] / decomposition.root_sums(d)
        differential = (v, differences, d, slope)
    return Root(sqrt=(v * scaled) @ transpose(v), differential=differential)
