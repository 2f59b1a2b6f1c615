"""Eigenvalue and singular value decompositions of a batch that also work where the library fails.

Batches that cuSOLVER refuses are split, and a matrix on which float32 fails is decomposed in
float64. The module also decides which eigenvalues count as zero.
"""

from collections.abc import Callable
from functools import partial
from math import isfinite, prod
from typing import TypeAlias

from mssbench import arrays
from mssbench.arrays import Array, dtype_name, eye_like, library, namespace

Factors: TypeAlias = tuple[Array, ...]
Decompose: TypeAlias = Callable[[Array], Factors]
# Matrices per call. cuSOLVER's batched eigh refuses more than about 32k (mjlab #732).
_MOST = 2**14
# The largest size at which LAPACK does not use divide and conquer. Only that algorithm has returned
# NaN for finite matrices, from n = 28 on.
_UNDIVIDED = 25
# Eigenvalues of A up to NULL ε w_max count as rounding errors of zeros, where ε is the spacing of
# the precision at 1. Of the values 1, 4 and 16 only 4 catches them at n = 256 and leaves spectra of
# condition 1e6 in float32 unchanged.
NULL = 4.0


def eigh(a: Array) -> Factors:
    """Return w, (..., n), ascending, and V, (..., n, n), of symmetric A = V diag(w) Vᵀ."""
    return _in_chunks(namespace(a).linalg.eigh, a)


def svd(a: Array, driver: str | None = None) -> Factors:
    """Return U, s, Vᵀ with A = U diag(s) Vᵀ, s descending. driver: a cuSOLVER routine of torch."""
    return _in_chunks(partial(arrays.svd, driver=driver), a)


def without_null(w: Array, largest: Array | None = None) -> Array:
    """Return eigenvalues w of A, (..., n), with rounding errors of zeros replaced by 0.

    largest: the largest eigenvalue of each matrix, (..., 1), if the caller knows it.

    Negative eigenvalues become 0 as well, and NaN stays NaN. If A is singular, as the covariance of
    fewer samples than dimensions is, the gradient of its root divides by sums of the roots of these
    eigenvalues, and would consist mostly of terms divided by rounding errors.
    """
    largest = arrays.amax(w, -1) if largest is None else largest
    return namespace(w).where(w <= (NULL * arrays.epsilon(w)) * largest, 0.0, w)


def floored(w: Array) -> Array:
    """Return max(w, ε) for eigenvalues w, (..., n), with an absolute ε: the dtype's spacing at 1.

    The published layers with SVD gradients do this, and so do the methods named `_released` here.
    """
    least = arrays.epsilon(w)
    return namespace(w).where(w <= least, least, w)


def root_sums(d: Array) -> Array:
    """Return d_i + d_j, (..., n, n), for eigenvalues d of a root, (..., n); ∞ where both are 0.

    The reciprocals are the divided differences of √w. Between two null directions of a singular A
    these would be infinite, and are 0 by the ∞ here: gradients with respect to features have no
    such component.
    """
    xp = namespace(d)
    # The test is made on vectors; on matrices it would cost more than the division itself.
    null = xp.where(d == 0, xp.finfo(d.dtype).max, xp.zeros_like(d))  # its square is infinite
    return d[..., :, None] + d[..., None, :] + null[..., :, None] * null[..., None, :]


def root_without_null(d: Array) -> Array:
    """Return eigenvalues d of a root A^{1/2}, (..., n), as `without_null` does for those of A.

    A value becomes 0 if its square counts as the rounding error of a zero. This is for roots from
    iterations, which do not compute eigenvalues of A.
    """
    limit = (NULL * arrays.epsilon(d)) ** 0.5 * arrays.amax(d, -1)
    return namespace(d).where(d <= limit, 0.0, d)


def _in_chunks(decompose: Decompose, a: Array) -> Factors:
    batch = a.shape[:-2]
    if prod(batch) <= _MOST or not _on_gpu(a):
        return _retried(decompose, a)
    flat = a.reshape(-1, *a.shape[-2:])
    chunks = [_retried(decompose, flat[i : i + _MOST]) for i in range(0, len(flat), _MOST)]
    joined = map(namespace(a).concatenate, zip(*chunks, strict=True))
    return tuple(x.reshape(*batch, *x.shape[1:]) for x in joined)


def _retried(decompose: Decompose, a: Array) -> Factors:
    """Decompose a batch; if that fails, one by one, and a matrix that fails again in float64.

    MKL's float32 eigh fails on covariances with many dead channels, with an error for the whole
    batch or with NaN. Catching the error costs nothing, also on a GPU, where torch waits for
    cuSOLVER's report in any case. Looking for NaN would make the host wait for a GPU once more, so
    that this is done on a CPU only, and only among the eigenvalues.
    A matrix that is not finite, which LAPACK may refuse, is decomposed into NaN.
    Raises the library's LinAlgError if it fails on a single finite matrix in float64.
    """
    try:
        parts = tuple(decompose(a))
        if a.shape[-1] <= _UNDIVIDED or dtype_name(a) == "float64" or _on_gpu(a):
            return parts
        if arrays.is_mapped(a) or _finite(parts):
            return parts
    except namespace(a).linalg.LinAlgError:
        if a.ndim == 2 and not isfinite((0 * a).sum().item()):
            return tuple(x * float("nan") for x in decompose(eye_like(a)))
        if a.ndim == 2 and dtype_name(a) == "float64":
            raise

    # The library failed on at least one matrix: decompose them one by one.
    if a.ndim > 2:
        decomposed = [_retried(decompose, matrix) for matrix in a]
        return tuple(map(namespace(a).stack, zip(*decomposed, strict=True)))
    return tuple(_cast(x, a.dtype) for x in decompose(_cast(a, namespace(a).float64)))


def _finite(parts: Factors) -> bool:
    """Whether the eigenvalues are finite; the eigenvectors then are finite as well."""
    values = parts[0] if parts[0].ndim < parts[1].ndim else parts[1]
    return isfinite(values.sum().item())


def _on_gpu(a: Array) -> bool:
    return library(a) == "cupy" or (library(a) == "torch" and a.is_cuda)


def _cast(a: Array, dtype: object) -> Array:
    return a.to(dtype) if library(a) == "torch" else a.astype(dtype)
