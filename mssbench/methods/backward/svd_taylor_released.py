"""Gradient of the eigendecomposition with a Taylor series, as DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, see released.py.
"""

from mssbench.arrays import Array, namespace
from mssbench.methods.backward.released import gradient, larger_and_ratio, released
from mssbench.methods.method import Function, Root

_DEGREE = 100  # the published degree


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-Taylor), the layer of DifferentiableSVD on GitHub",
    inexact="as released: eigenvalues up to an absolute ε are ε, and for equal eigenvalues K is "
    "101 / p, with one sign for both directions",
)
def svd_taylor_released(root: Root, function: Function, g: Array) -> Array:
    """The published layer's svd_taylor, degree 100: K is 101 / p for equal eigenvalues, not 0.

    S = sym(V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ), U = 2 G V diag(f),
    K_ij = ±Σ_{i<=100} r^i / p, p and q the larger and the smaller eigenvalue, r = q / p, and +
    where w_i >= w_j; K_ii = 0.

    g: (..., n, n). Each w below ε, the spacing of the dtype at 1, is raised to ε, so that K is
    101 / ε between the null directions of a singular A. In `svd_taylor` the limit ε is relative to
    the largest eigenvalue, and equal eigenvalues contribute 0. The module
    `mssbench.methods.backward.released` defines the symbols and lists all differences.
    """

    def k(wi: Array, wj: Array) -> Array:
        larger, ratio = larger_and_ratio(wi, wj)
        series = power = namespace(ratio).ones_like(ratio)
        for _ in range(_DEGREE):
            power = power * ratio
            series = series + power
        return series / larger

    return gradient(root, function, g, k)
