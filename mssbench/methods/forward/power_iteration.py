"""Approximate square root by one singular value (svPN)."""

from mssbench.arrays import Array, frobenius_norm, namespace, trace, transpose
from mssbench.methods.method import Root
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Xie et al., So-ViT: Mind Visual Tokens for Vision Transformer, arXiv 2104.10935, 2021",
    # A product with a vector is 1 / n of a product of matrices; n = 64 is assumed.
    products=lambda iterations: (2 * iterations + 1) / 64,
    yields=("sqrt",),
    inexact="divides every eigenvalue by the root of the largest: exact for c times a projection",
)
def power_iteration(a: Array, *, iterations: int = 1) -> Root:
    """The matrix divided by the root of its largest eigenvalue: svPN with one singular value.

    v_i = 1 / √n;  k times: u = A v / ‖A v‖,  v = A u / ‖A u‖;  σ = uᵀ A v;  A^{1/2} ≈ A / √σ.

    a: (..., n, n). iterations = k. The paper replaces the term σ u vᵀ by √σ u vᵀ and divides the
    rest by √σ, which together is A / √σ. Power iteration approaches σ from below, so that the
    result is not smaller than A / √w_max. The start is the fixed vector of the released code, so
    that the result depends on the basis, and is not finite if A v = 0. The released code adds 1e-5
    to √σ, which is left out here so that the result scales with the matrix.
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
    """Return v, (..., n, 1), scaled to length 1; zero vectors are returned unchanged."""
    norm = frobenius_norm(v)
    return v / namespace(v).where(norm > 0, norm, 1.0)
