"""Gradient of the eigendecomposition without a remedy, as DifferentiableSVD computes it.

DifferentiableSVD is the code that Song, Sebe & Wang published with their papers, see released.py.
"""

from mssbench.arrays import Array
from mssbench.methods.backward.released import gradient, released
from mssbench.methods.method import Function, Root


@released(
    cite="Song, Sebe & Wang, ICCV 2021 (SVD-Original), the layer of DifferentiableSVD on GitHub",
    inexact="as released: eigenvalues up to an absolute ε are ε, and 1 / 0 of equal eigenvalues is "
    "replaced by the largest finite 1 / (p - q) of the batch, with one sign for both directions",
)
def svd_original_released(root: Root, function: Function, g: Array) -> Array:
    """The published layer's svd_original: finite but wrong for equal eigenvalues and singular A.

    S = sym(V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ), U = 2 G V diag(f),
    K_ij = 1 / (w_i - w_j), or for w_i = w_j the largest finite K of the batch; K_ii = 0.

    g: (..., n, n). Each eigenvalue w below ε, the spacing of the dtype at 1, is raised to ε. In
    `svd_original` this limit is relative to the largest eigenvalue, the root of an eigenvalue below
    it is 0, and equal eigenvalues give NaN. The module `mssbench.methods.backward.released` defines
    the symbols and lists all differences.
    """
    return gradient(root, function, g, lambda wi, wj: 1 / (wi - wj))
