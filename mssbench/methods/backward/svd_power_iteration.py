"""Gradient of the eigendecomposition by deflated power iteration."""

from mssbench.arrays import Array, diagonal, namespace, symmetrize, transpose
from mssbench.methods.backward.spectral import eigenpairs, values
from mssbench.methods.method import LAPACK_PRECISIONS, Function, Root
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Wang, Dang, Hu, Fua & Salzmann, Backpropagation-Friendly Eigendecomposition, NeurIPS "
    "2019, k = 9; Song, Sebe & Wang, ICCV 2021 (SVD-PI), k = 20",
    products=lambda iterations: 3.0 * iterations + 5,
    reads=("eigen",),
    only=True,
    precisions=LAPACK_PRECISIONS,
    inexact="a truncated series: that of svd_taylor, of degree `iterations`",
)
def svd_power_iteration(root: Root, function: Function, g: Array, *, iterations: int = 9) -> Array:
    """Derivative of each eigenvector as the limit of power iteration on a deflated A.

    S = sym(Σ_j x_j v_jᵀ + V diag(f'(w_j) (VᵀGV)_jj) Vᵀ),  x_j = Σ_{i<=k} (A_j / w_j)^i u_j / w_j,
    where A_j is A without the eigenpairs before j (the largest w is first), and u_j is the
    cotangent of v_j without its components along v_1 to v_j, which the earlier vectors account for.
    f(w) is √w or 1/√w.

    g: (..., n, n). All vectors are processed at once, as columns: one product with A and two to
    deflate per iteration. The result equals that of svd_taylor, which computes the same sums as
    scalars, and the gradient between equal eigenvalues is lost in the same way. The published layer
    is `svd_power_iteration_released`.
    """
    w, v = eigenpairs(root)
    xp = namespace(w)
    f, slope = values(function, w)
    wi, wj = w[..., :, None], w[..., None, :]
    vt = transpose(v)
    a = (v * wj) @ vt
    gt = vt @ g @ v

    def deflate(c: Array) -> Array:
        """Return V C with C_ij = c_ij / w_j where w_i < w_j, and 0 elsewhere."""
        return v @ xp.where(wi < wj, c / wj, 0.0)

    x = term = deflate(2 * gt * (f[..., None, :] - f[..., :, None]))
    for _ in range(iterations):
        term = deflate(vt @ (a @ term))
        x = x + term
    return symmetrize((x + v * (diagonal(gt) * f * slope)[..., None, :]) @ vt)
