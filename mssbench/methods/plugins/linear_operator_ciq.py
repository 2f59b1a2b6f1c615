"""Inverse square root by linear_operator's contour integral quadrature."""

from mssbench.arrays import Array, eye_like
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _apply(a: Array, b: Array) -> Array:
    from linear_operator import to_linear_operator

    return to_linear_operator(a).sqrt_inv_matmul(b)


@register_forward(
    cite="Pleiss, Jankowiak, Eriksson, Damle & Gardner, Fast Matrix Square Roots with Applications "
    "to Gaussian Processes and Bayesian Optimization, NeurIPS 2020; tested: linear_operator 0.6.1",
    products=lambda: 50.0,  # one per MINRES step of all columns; their number depends on the matrix
    yields=("isqrt",),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    inexact="15 quadrature points, and MINRES that stops at 1e-4",
    package="linear_operator",
    apply=_apply,
)
def linear_operator_ciq(a: Array) -> Root:
    """linear_operator's `sqrt_inv_matmul`: A^{-1/2} b, or A^{-1/2} itself with the identity for b.

    a: (..., n, n). The method is intended for A^{-1/2} b with one vector and a matrix too large for
    a decomposition, which is measured as the function `isqrt_b`. The inverse root has n columns and
    costs n times as much. Known: the spectrum is estimated by 20 Lanczos steps from the first
    column only; there is one stopping test for the whole batch; quadrature points are computed on
    the host, matrix by matrix; from condition 1e4 on the first digit of the result is wrong.
    """
    return Root(isqrt=_apply(a, eye_like(a).expand(a.shape).contiguous()))
