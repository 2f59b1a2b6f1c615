"""Gradient in the eigenbasis, with the Loewner matrix of divided differences."""

from mssbench.arrays import Array, namespace, transpose
from mssbench.methods import decomposition
from mssbench.methods.backward.implicit import law
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Function, Root
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Daleckii & Krein (1965); Higham, Functions of Matrices, SIAM 2008, Theorem 3.11; "
    "Vetter, IEEE Trans. Autom. Control 18 (1973)",
    products=lambda: 4.0,
    reads=("eigen",),
    precisions=LAPACK_PRECISIONS,
    solves=True,
    computes=NUMPY_IN_DOUBLE,
)
def loewner(root: Root, function: Function, g: Array) -> Array:
    """Exact in the eigenbasis: nothing is divided by w_i - w_j, so ties are harmless.

    S = V (L ∘ (Vᵀ G V)) Vᵀ with d = √w and L_ij = 1 / (d_i + d_j) for the root,
    L_ij = -1 / (d_i d_j (d_i + d_j)) for the inverse root.

    g: (..., n, n), symmetric. Uses the forward's eigenpairs where it has them, else decomposes Y.
    For the root of a singular A, eigenvalues of A up to 4 ε times the largest one are 0 before they
    come here, and those of Y count as 0 up to 2 √ε times. L is given as 0 between two null
    directions, where it is infinite. If A = X Xᵀ, the gradient with respect to X has no such part.
    Where an inverse root does not exist, its gradient is NaN.
    """
    if root.eigen is None:
        y, g = law(root, function, g)  # now the equation of the plain root: L = 1 / (d_i + d_j)
        xp = namespace(y)
        # LAPACK gives up on a NaN, for the whole batch: a diverged root has a NaN gradient instead.
        finite = xp.isfinite(xp.sum(y, axis=(-2, -1), keepdims=True))  # (..., 1, 1)
        d, v = decomposition.eigh(xp.where(finite, y, 0.0))
        d = decomposition.root_without_null(d) if function == "sqrt" else d.clip(0)
        d = xp.where(finite[..., 0], d, xp.nan)
        function = "sqrt"
    else:
        w, v = root.eigen
        xp = namespace(w)
        d = xp.sqrt(w)
    if function == "sqrt":
        inner, divisor = v, decomposition.root_sums(d)
    else:
        # 1 / (d_i d_j) is taken into V: the product of three d leaves the range of float32 at 1e26.
        # Where d is 0, Z is infinite and S becomes NaN.
        inner, divisor = v / _row(d), -(_column(d) + _row(d))
    return v @ ((transpose(inner) @ g @ inner) / divisor) @ transpose(v)


def _column(x: Array) -> Array:
    return x[..., :, None]


def _row(x: Array) -> Array:
    return x[..., None, :]
