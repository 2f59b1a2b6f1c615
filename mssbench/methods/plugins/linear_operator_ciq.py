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
    products=lambda: 50.0,  # one per MINRES step of all columns; how many, only the matrix knows
    yields=("isqrt",),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    inexact="15 quadrature points, and MINRES that stops at 1e-4",
    package="linear_operator",
    apply=_apply,
)
def linear_operator_ciq(a: Array) -> Root:
    """linear_operator's `sqrt_inv_matmul`: A^{-1/2} b, or with the identity for b the whole.

    a: (..., n, n). The method is made for A^{-1/2} b of one vector and a matrix too large for any
    decomposition: its own rows are those of function `isqrt_b`. As an inverse root, n columns cost
    n times its work. Known: the spectrum is estimated by 20 Lanczos steps from the first
    column only; one stop for the whole batch; quadrature points computed on the host, matrix by
    matrix; from condition 1e4 on it is wrong in the first digit.
    """
    return Root(isqrt=_apply(a, eye_like(a).expand(a.shape).contiguous()))
