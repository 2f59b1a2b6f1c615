"""Gradient of power iteration for all vectors at once, as DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, see released.py.
"""

from mssbench.arrays import Array, eye_like, frobenius_norm, namespace, symmetrize, transpose
from mssbench.methods.backward.released import eigenpairs, released, values
from mssbench.methods.method import Function, Root

_ITERATIONS = 20  # the published number
_LEAST_NORM = 1e-10  # the published floor of ‖A V‖


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-PI), the layer of DifferentiableSVD on GitHub",
    products=lambda: 26.0,
    inexact="as released: I - V Vᵀ is 0 up to rounding, since V has all eigenvectors, and the "
    "cotangent of the eigenvalues is left out: the gradient consists of rounding errors, some 1e-6 "
    "of the true one",
    at_singular="the gradient consists of rounding errors for any A",
)
def svd_power_iteration_released(root: Root, function: Function, g: Array) -> Array:
    """The published layer's svd_power_iteration, broken: its gradient is rounding, as I - V Vᵀ = 0.

    S = sym(Σ_{i<=20} (A / ν)^i (I - V Vᵀ) / ν U Vᵀ), ν = ‖A V‖_F, U = 2 G V diag(f), f = √w.

    g: (..., n, n). The formula of power iteration is for a single eigenvector v, with I - v vᵀ. The
    layer inserts the orthogonal matrix V of all eigenvectors for v. `svd_power_iteration` treats
    each vector separately, in a deflated matrix, and adds the part of the eigenvalues. Here A is
    computed again from its eigenpairs, which takes one product more than the layer does.
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
