"""Approximate square root by one singular value (svPN)."""

from mssbench.arrays import Array, frobenius_norm, namespace, trace, transpose
from mssbench.methods.method import Root
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Xie et al., So-ViT: Mind Visual Tokens for Vision Transformer, arXiv 2104.10935, 2021",
    products=lambda iterations: (2 * iterations + 1) / 64,  # by a vector: 1 / n of a product
    yields=("sqrt",),
    inexact="divides every eigenvalue by the root of the largest: exact for c times a projection",
)
def power_iteration(a: Array, *, iterations: int = 1) -> Root:
    """The matrix over the root of its largest eigenvalue: svPN with one singular value.

    v_i = 1 / √n;  k times: u = A v / ‖A v‖,  v = A u / ‖A u‖;  σ = uᵀ A v;  A^{1/2} ≈ A / √σ.

    a: (..., n, n). The paper takes out σ u vᵀ, gives it the exponent 1/2 and divides the rest by
    √σ: together A / √σ. Power iteration comes from below, so the result is no smaller than
    A / √w_max. The start is the released code's fixed one, so the result depends on the basis, and
    is not finite where A v = 0; its 1e-5 beside √σ is left out, for the sake of scale.
    """
    p = power_of_four(a)
    a = a / p
    xp, n = namespace(a), a.shape[-1]
    v = xp.ones_like(a[..., :1]) / n**0.5
    u = v
    for _ in range(iterations):
        u = _unit(a @ v)
        v = _unit(a @ u)
    sigma = transpose(u) @ a @ v
    return Root(sqrt=a / xp.sqrt(xp.where(trace(a) > 0, sigma, 1.0)) * xp.sqrt(p))


def _unit(v: Array) -> Array:
    """Of length 1; a zero vector as it is."""
    norm = frobenius_norm(v)
    return v / namespace(v).where(norm > 0, norm, 1.0)
