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
    """Exact gradient in the eigenbasis, without division by w_i - w_j: equal eigenvalues are fine.

    S = V (L ∘ (Vᵀ G V)) Vᵀ with d = √w and L_ij = 1 / (d_i + d_j) for the root,
    L_ij = -1 / (d_i d_j (d_i + d_j)) for the inverse root.

    g: (..., n, n), symmetric. Uses the eigenpairs of the forward if it yields them, and otherwise
    decomposes Y. For the root of a singular A, eigenvalues of A up to 4 ε times the largest one
    have been set to 0 before, and eigenvalues of Y up to 2 √ε times the largest one count as 0.
    Between two null directions L is infinite, and 0 is used instead: if A = X Xᵀ, the gradient with
    respect to X has no such component. If an inverse root does not exist, its gradient is NaN.
    """
    if root.eigen is None:
        # From here on the equation is that of the plain root: L = 1 / (d_i + d_j).
        y, g = law(root, function, g)
        xp = namespace(y)
        # LAPACK raises for the whole batch if one matrix has a NaN. The gradient of a root that
        # has diverged is set to NaN instead.
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
        # 1 / (d_i d_j) is absorbed into V, because the product of three d overflows float32 from
        # eigenvalues of 1e26 on. Where d is 0, Z is infinite and S becomes NaN.
        inner, divisor = v / _row(d), -(_column(d) + _row(d))
    return v @ ((transpose(inner) @ g @ inner) / divisor) @ transpose(v)


def _column(x: Array) -> Array:
    return x[..., :, None]


def _row(x: Array) -> Array:
    return x[..., None, :]
