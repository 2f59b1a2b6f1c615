"""Gradient of the eigendecomposition with a limit on 1 / (p - q), as DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, see released.py.
"""

from mssbench.arrays import Array
from mssbench.methods.backward.released import gradient, released
from mssbench.methods.method import Function, Root

_LIMIT = 1e10  # the published limit, in every precision and at every scale


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-Trunc), the layer of DifferentiableSVD on GitHub",
    inexact="as released: eigenvalues up to an absolute ε are ε, and for equal eigenvalues K is "
    "1e10, with one sign for both directions",
)
def svd_trunc_released(root: Root, function: Function, g: Array) -> Array:
    """The published layer's svd_trunc: K is 1e10 for equal eigenvalues, in both directions, not 0.

    S = sym(V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ), U = 2 G V diag(f),
    K_ij = 1 / (w_i - w_j) within ±1e10; K_ii = 0.

    g: (..., n, n). Each w below ε, the spacing of the dtype at 1, is raised to ε, so that the null
    eigenvalues of a singular A are equal. In `svd_trunc` the limit ε is relative to the largest
    eigenvalue, and equal eigenvalues contribute 0. The module
    `mssbench.methods.backward.released` defines the symbols and lists all differences.
    """
    return gradient(root, function, g, lambda wi, wj: (1 / (wi - wj)).clip(-_LIMIT, _LIMIT))
