"""Gradient of a function of A by its divided differences, whichever function it is."""

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
    """Exact gradient of a transform, such as gcp_seb, by the divided differences it yields.

    S = V (L ∘ (Vᵀ G V) + <u, diag(Vᵀ G V)> diag(t)) Vᵀ, where L_ij = (f_i - f_j) / (w_i - w_j) and
    L_ii = f'(w_i) for the result V diag(f) Vᵀ, and u and t are there for an f that depends on the
    other eigenvalues as well, by one number: df_k / dw_i = L_ii [i = k] + u_k t_i.

    g: (..., n, n). Nothing is divided by w_i - w_j where w_i = w_j, as the forward gives the limit,
    so that ties are harmless. It pairs only with forwards that yield these numbers; the gradient is
    that of what they compute, not of the root.
    """
    del function
    v, differences, u, t = root.differential
    vt = transpose(v)
    gt = vt @ g @ v
    shared = namespace(g).sum(u * diagonal(gt), axis=-1, keepdims=True)
    return v @ (differences * gt + eye_like(v) * (shared * t)[..., None, :]) @ vt
