"""Decompositions of a batch where the library's own gives up: too many matrices, no convergence."""

from collections.abc import Callable
from functools import partial
from math import isfinite, prod
from typing import TypeAlias

from mssbench import arrays
from mssbench.arrays import Array, dtype_name, eye_like, library, namespace

Parts: TypeAlias = tuple[Array, ...]
Decompose: TypeAlias = Callable[[Array], Parts]
# cuSOLVER's batched eigh refuses more than some 32k matrices, mjlab #732.
_MOST = 2**14
# Above it LAPACK divides and conquers, which alone has made NaN of finite matrices: n = 28 and on.
_UNDIVIDED = 25
# Eigenvalues of A up to this many times ε w_max are rounding errors of zeros, ε the spacing of the
# precision at 1. Of 1, 4 and 16 this is the one that catches them at n = 256 and leaves spectra of
# condition 1e6 in float32 as they are.
NULL = 4.0


def eigh(a: Array) -> Parts:
    """w, (..., n), ascending, and V, (..., n, n), of symmetric A = V diag(w) Vᵀ."""
    return _in_chunks(namespace(a).linalg.eigh, a)


def svd(a: Array, driver: str | None = None) -> Parts:
    """U, s, Vᵀ with A = U diag(s) Vᵀ, s descending. A driver is torch's word for a routine."""
    return _in_chunks(partial(arrays.svd, driver=driver), a)


def without_null(w: Array, largest: Array | None = None) -> Array:
    """Eigenvalues w of A, (..., n), with 0 for each that is the rounding error of a zero.

    largest: the largest of each matrix, (..., 1), where the caller knows which one it is.

    Negative ones are 0 as well, and a NaN stays. Where A is singular, as the covariance of fewer
    samples than dimensions is, the gradient of its root divides by sums of these roots: what
    rounding leaves of a zero would make the most part of it.
    """
    largest = arrays.amax(w, -1) if largest is None else largest
    return namespace(w).where(w <= (NULL * arrays.epsilon(w)) * largest, 0.0, w)


def floored(w: Array) -> Array:
    """w, (..., n), with ε for each eigenvalue up to ε, however large the others are.

    The published layers of the SVD remedies do so; their released variants here follow them.
    """
    least = arrays.epsilon(w)
    return namespace(w).where(w <= least, least, w)


def root_sums(d: Array) -> Array:
    """d_i + d_j, (..., n, n), for eigenvalues d of a root, (..., n); infinite where both are 0.

    Their reciprocals are the divided differences of √w. The infinite one, between two null
    directions of a singular A, is 0 here: a gradient with respect to features has no such part.
    """
    xp = namespace(d)
    # decided on vectors: on matrices that costs more than the division itself
    null = xp.where(d == 0, xp.finfo(d.dtype).max, xp.zeros_like(d))  # its square is infinite
    return d[..., :, None] + d[..., None, :] + null[..., :, None] * null[..., None, :]


def root_without_null(d: Array) -> Array:
    """Eigenvalues d of a root A^{1/2}, (..., n), with 0 for each whose square is such an error.

    For roots of iterations, which know no eigenvalues of A.
    """
    limit = (NULL * arrays.epsilon(d)) ** 0.5 * arrays.amax(d, -1)
    return namespace(d).where(d <= limit, 0.0, d)


def _in_chunks(decompose: Decompose, a: Array) -> Parts:
    batch = a.shape[:-2]
    if prod(batch) <= _MOST or not _on_gpu(a):
        return _retried(decompose, a)
    flat = a.reshape(-1, *a.shape[-2:])
    chunks = [_retried(decompose, flat[i : i + _MOST]) for i in range(0, len(flat), _MOST)]
    joined = map(namespace(a).concatenate, zip(*chunks, strict=True))
    return tuple(x.reshape(*batch, *x.shape[1:]) for x in joined)


def _retried(decompose: Decompose, a: Array) -> Parts:
    """Matrix by matrix where the library fails on one, and that one in float64.

    MKL's float32 eigh does fail on covariances with many dead channels: by an error that spoils the
    whole batch, or by NaN. An error costs nothing to hear of, on a GPU either: torch has waited for
    cuSOLVER's own report before it returns. NaN must be looked for, which a GPU would have to be
    waited for once more; so that is done on a CPU alone, in the few numbers that are eigenvalues.
    A matrix that is not finite itself, which LAPACK may refuse, is decomposed into NaN.
    Raises the library's LinAlgError where it fails on one finite matrix in float64.
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
    if a.ndim > 2:
        each = [_retried(decompose, matrix) for matrix in a]
        return tuple(map(namespace(a).stack, zip(*each, strict=True)))
    return tuple(_cast(x, a.dtype) for x in decompose(_cast(a, namespace(a).float64)))


def _finite(parts: Parts) -> bool:
    """Whether the eigenvalues are; where they are, so are the vectors."""
    values = parts[0] if parts[0].ndim < parts[1].ndim else parts[1]
    return isfinite(values.sum().item())


def _on_gpu(a: Array) -> bool:
    return library(a) == "cupy" or (library(a) == "torch" and a.is_cuda)


def _cast(a: Array, dtype: object) -> Array:
    return a.to(dtype) if library(a) == "torch" else a.astype(dtype)
