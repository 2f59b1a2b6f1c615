"""Whitening by the inverse of a Cholesky factor, for comparison with inverse roots."""

from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _whitening(a: Array) -> Array:
    # Imported here, so that listing the methods does not import torch.
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
    """Whitening by W = L^{-1}, where A = L Lᵀ: lower triangular, W A Wᵀ = I, without a root of A.

    a: (..., n, n). It is measured for the function `whiten`, together with methods for A^{-1/2},
    which whitens too. The error of all of them is W A Wᵀ - I; each gradient is compared with the
    exact one of that method's W. It pairs with `autodiff`. Programs call it as
    `mssbench.whitening(a)`.
    """
    del a
    raise Unsupported("cholesky computes no root: measure it with function = whiten")
