"""Whitening by a Cholesky factor: a matrix W with W A Wᵀ = I, computed without a root of A.

Let A = L Lᵀ with lower triangular L. Then W = L^{-1} whitens: if x has the covariance A, the
covariance of W x is the identity. So do the symmetric A^{-1/2} and Q A^{-1/2} for every orthogonal
Q. Among these, A^{-1/2} changes x least, in the mean square. L^{-1} costs a fraction of it, and its
row i depends on the first i dimensions alone.

Source: Kessy, Lewin & Strimmer, Optimal whitening and decorrelation, The American Statistician 72
(2018).
"""

from typing import Any

import numpy as np
import torch

from mssbench import arrays
from mssbench.arrays import Array, namespace
from mssbench.errors import InputError
from mssbench.methods.input_checks import check_matrix, check_values
from mssbench.methods.method import LAPACK_PRECISIONS
from mssbench.methods.pair import without_autocast


def whitening(a: Array, *, check: bool = False) -> Array:
    """Inverse Cholesky factor of each matrix A: the lower triangular W with W A Wᵀ = I.

    a: (..., n, n), symmetric positive definite, a torch, numpy or cupy array in float32 or float64.
    Only its lower triangle is read.
    check: check the values first, and raise InputError for a matrix that is not finite, not
    symmetric, or singular in its precision.

    Returns W, (..., n, n), with the library, dtype and device of `a`. In torch it has derivatives
    of every order, also through torch.func; its gradient with respect to `a` is symmetric. The
    symmetric whitening matrix is `isqrtm(a)`. For a matrix that has no Cholesky factor, the result
    and its gradient are NaN.

    Raises InputError (a ValueError) if `a` is not a batch of square matrices in one of these
    precisions.

    >>> import torch, mssbench
    >>> mssbench.whitening(torch.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[ 0.5000,  0.0000],
            [-0.5000,  1.0000]])
    """
    check_matrix(a)
    check_decomposable(a)
    if check:
        check_values(a, "isqrt")
    with without_autocast(a):
        return inverse_factor(a)


def check_decomposable(a: Array) -> None:
    """Raise InputError for a precision in which no library decomposes matrices."""
    if arrays.dtype_name(a) not in LAPACK_PRECISIONS:
        how = "a.float()" if arrays.library(a) == "torch" else 'a.astype("float32")'
        raise InputError(
            f"expected matrices in float32 or float64, got {arrays.dtype_name(a)}. "
            f"Convert first, for example {how}."
        )


def inverse_factor(a: Array) -> Array:
    """Return L^{-1} of A = L Lᵀ, (..., n, n); NaN for matrices that are not positive definite."""
    eye = arrays.eye_like(a)
    if arrays.library(a) == "torch":
        factor, failed = torch.linalg.cholesky_ex(a)
        # Multiplied rather than replaced by NaN, so that the gradient is NaN as well.
        factor = factor * torch.where(failed > 0, torch.nan, 1.0)[..., None, None].to(a.dtype)
        return torch.linalg.solve_triangular(factor, eye.expand(a.shape), upper=False)
    with np.errstate(all="ignore"):
        w = namespace(a).linalg.solve(_factor(a), namespace(a).broadcast_to(eye, a.shape))
    return namespace(a).tril(w)  # the general solver leaves rounding errors above the diagonal


def _factor(a: Array) -> Array:
    """Return the Cholesky factor L, (..., n, n); NaN for matrices that have none.

    NumPy raises an error for a whole batch if one of its matrices has no factor. The matrices are
    then factored one by one.
    """
    linalg: Any = namespace(a).linalg
    try:
        return linalg.cholesky(a)
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return namespace(a).full_like(a, np.nan)
        return namespace(a).stack([_factor(matrix) for matrix in a])
