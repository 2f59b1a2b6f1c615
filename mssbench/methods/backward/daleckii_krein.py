"""Gradient of an arbitrary function of A by its divided differences."""

from mssbench.arrays import Array, diagonal, eye_like, namespace, transpose
from mssbench.methods.method import LAPACK_PRECISIONS, Function, Root
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Daleckii & Krein (1965); Higham, Functions of Matrices, SIAM 2008, Theorem 3.11",
    products=lambda: 4.0,
    reads=("differential",),
    only=True,
    precisions=LAPACK_PRECISIONS,
)
def daleckii_krein(root: Root, function: Function, g: Array) -> Array:
    """Exact gradient of a transform, such as gcp_seb, from the divided differences it yields.

    S = V (L ∘ (Vᵀ G V) + <u, diag(Vᵀ G V)> diag(t)) Vᵀ, where L_ij = (f_i - f_j) / (w_i - w_j) and
    L_ii = f'(w_i) for the result V diag(f) Vᵀ. The vectors u and t are for an f_k that also depends
    on the other eigenvalues: df_k / dw_i = L_ii [i = k] + u_k t_i.

    g: (..., n, n). For equal eigenvalues the forward yields the limit of L_ij, so that the gradient
    is exact there too. It pairs only with forwards that yield these arrays. The gradient is that of
    the function which the forward computes, not of the root.
    """
    del function
    v, differences, u, t = root.differential
    vt = transpose(v)
    gt = vt @ g @ v
    shared = namespace(g).sum(u * diagonal(gt), axis=-1, keepdims=True)
    return v @ (differences * gt + eye_like(v) * (shared * t)[..., None, :]) @ vt
