"""Square root with the scaling eigen branch, as the layer of DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, on GitHub.
"""

from mssbench.arrays import Array, eye_like, frobenius_norm, namespace, transpose
from mssbench.methods import decomposition
from mssbench.methods.backward.released import factors
from mssbench.methods.decomposition import floored
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.registry import register_forward

_LEAST_NORM = 1e-12  # the floor of ‖M‖_F in torch.nn.functional.normalize


@register_forward(
    cite="Song, Sebe & Wang, IEEE TPAMI 2022 (SEB), the layer of DifferentiableSVD on GitHub",
    products=lambda: 23.0,
    yields=("sqrt", "differential"),
    precisions=LAPACK_PRECISIONS,
    at_singular="null eigenvalues are equal to ε, and rounding errors between them are amplified",
    inexact="as released: the root times a factor, NaN in each entry where M is 0, and eigenvalues "
    "up to an absolute ε are ε",
    computes=NUMPY_IN_DOUBLE,
)
def gcp_seb_released(a: Array, wanted: Wanted) -> Root:
    """The published layer's gcp_seb: divides M by M / ‖M‖_F entry by entry, 0 / 0 at its zeros.

    Y = V diag(√w) Vᵀ,  S = V diag(e^{-w}) Vᵀ,  M = Y Sᵀ,  the result is Y + Y ∘ (M / (M / ‖M‖_F)).

    a: (..., n, n). Each w below ε, the spacing of the dtype at 1, is raised to ε. Every quotient is
    ‖M‖_F, so that the result is that of `gcp_seb` up to rounding if no entry of M is 0. Diagonal A,
    dead channels, and eigenvalues so large that every e^{-w} is 0 give NaN. With `daleckii_krein`
    the gradient is that of the layer, in which the derivative of the eigenvectors is the one of
    `svd_original_released`, wrong for equal eigenvalues such as the null eigenvalues of a singular
    A. The layer also differentiates the quotients, whose derivatives cancel up to rounding.
    """
    xp = namespace(a)
    _, s, vt = decomposition.svd(a)
    w, v = floored(s), transpose(vt)
    d, e = xp.sqrt(w), xp.exp(-w)
    y = (v * d[..., None, :]) @ vt
    m = y @ transpose((v * e[..., None, :]) @ vt)
    norm = xp.clip(frobenius_norm(m), _LEAST_NORM, None)
    sqrt = y + y * (m / (m / norm))

    if "differential" not in wanted:
        return Root(sqrt=sqrt)
    k = factors(w, lambda wi, wj: 1 / (wi - wj))
    # The symmetric part of the layer's matrix, 2 K_ji gt_ij d_j, and the derivative of √w.
    of_vectors = k * d[..., :, None] + transpose(k) * d[..., None, :]
    differences = (of_vectors + eye_like(a) * (0.5 / d)[..., None, :]) * (1 + norm)
    slope = e * e * (0.5 - w) / norm[..., 0]
    return Root(sqrt=sqrt, differential=(v, differences, d, slope))
