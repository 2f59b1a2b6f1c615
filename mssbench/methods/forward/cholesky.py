"""Whitening by the inverse of a Cholesky factor, as a row beside the inverse roots."""

from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _whitening(a: Array) -> Array:
    # imported when it is called: a list of methods needs no torch
    from mssbench.methods.whitening import inverse_factor

    return inverse_factor(a)


@register_forward(
    cite="Kessy, Lewin & Strimmer, Optimal whitening and decorrelation, The American Statistician "
    "72 (2018)",
    products=lambda: 0.5,  # 1/6 for the factor, 1/3 for its inverse
    yields=(),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    whitens=_whitening,
)
def cholesky(a: Array) -> Root:
    """Whitening W = L^{-1} of A = L Lᵀ: lower triangular, with W A Wᵀ = I, and no root of A.

    a: (..., n, n). Its rows are those of the function `whiten`, beside methods for A^{-1/2}, which
    whitens too. All are judged by W A Wᵀ - I, and each by the gradient of its own W. It pairs with
    `autodiff`. In a program it is called as `mssbench.whitening(a)`.
    """
    del a
    raise Unsupported("cholesky computes no root: its rows are those of the function whiten")
