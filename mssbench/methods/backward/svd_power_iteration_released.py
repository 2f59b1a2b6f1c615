"""Gradient of power iteration for all vectors at once, as the published layer computes it."""

from mssbench.arrays import Array, eye_like, frobenius_norm, namespace, symmetrize, transpose
from mssbench.methods.backward.released import eigenpairs, released, values
from mssbench.methods.method import Function, Root

_ITERATIONS = 20  # the published number
_LEAST_NORM = 1e-10  # and the published floor of ‖A V‖


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-PI), the layer of DifferentiableSVD on GitHub",
    products=lambda: 26.0,
    inexact="as released: I - V Vᵀ is 0 but for rounding, since V has all eigenvectors, and the "
    "cotangent of the eigenvalues is left out: the gradient is rounding, some 1e-6 of the true one",
    at_singular="its gradient is rounding for any A",
)
def svd_power_iteration_released(root: Root, function: Function, g: Array) -> Array:
    """The published layer's svd_power_iteration, broken: I - V Vᵀ = 0, so its gradient is rounding.

    S = sym(Σ_{i<=20} (A / ν)^i (I - V Vᵀ) / ν U Vᵀ), ν = ‖A V‖_F, U = 2 G V diag(f).

    g: (..., n, n). Power iteration has a formula for one eigenvector v, with I - v vᵀ; the layer
    has the matrix V of all of them in its place, which is orthogonal. `svd_power_iteration` takes
    the vectors one by one, in a deflated matrix, and adds the eigenvalues' part. A is made of its
    eigenpairs again, for a product more than the layer takes.
    """
    w, v = eigenpairs(root)
    assert root.eigen is not None
    vt = transpose(v)
    f, _ = values(function, w)
    a = (v * root.eigen[0][..., None, :]) @ vt
    norm = namespace(w).clip(frobenius_norm(a @ v), _LEAST_NORM, None)

    term = series = (eye_like(v) - v @ vt) / norm
    scaled = a / norm
    for _ in range(_ITERATIONS):
        term = scaled @ term
        series = series + term
    return symmetrize(series @ (2 * (g @ v) * f[..., None, :]) @ vt)
