"""Norms, products and counts for small batches of matrices, in float64 on the host."""

from functools import reduce
from math import isfinite

import numpy as np
import torch

from mssbench import arrays
from mssbench.arrays import Array, namespace

_SMALL = 64  # the largest matrices that numpy's BLAS multiplies in one thread


def product(*factors: np.ndarray) -> np.ndarray:
    """Return the product of batches of matrices in float64; large ones are computed by torch.

    The threads of torch wait actively for some time after a method's last operation. Those of
    numpy's own BLAS would compete with them for the cores, which took five times as long at n =
    256.
    """
    if factors[0].shape[-1] <= _SMALL:
        return reduce(np.matmul, factors)
    return reduce(torch.matmul, [torch.from_numpy(x) for x in factors]).numpy()


def exponential(x: np.ndarray) -> np.ndarray:
    """Return the exponential of symmetric matrices, (m, n, n); NaN where one is not finite."""
    finite = np.isfinite(x).all((1, 2), keepdims=True)
    w, v = np.linalg.eigh(np.where(finite, x, 0.0))
    return np.where(finite, product(v * np.exp(w)[:, None, :], v.swapaxes(-1, -2)), np.nan)


def frobenius(x: np.ndarray) -> np.ndarray:
    """Return the Frobenius norm of each matrix, (m, n, k) -> (m,). Twice as fast as numpy's."""
    norms: np.ndarray = np.sqrt(np.einsum("mij,mij->m", x, x))
    return norms


def relative(difference: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest relative Frobenius error over a batch.

    The error for an exact zero matrix is 0 if the difference is 0, else infinite.
    """
    with np.errstate(all="ignore"):
        return worst_ratio(frobenius(difference), frobenius(exact))


def worst_ratio(top: np.ndarray, bottom: np.ndarray) -> float:
    """Return the largest ratio of two norms, both (m,); 0 / 0 is 0. NaN where one is NaN."""
    with np.errstate(all="ignore"):
        ratio = np.where(bottom == 0, np.where(top == 0, 0.0, top * np.inf), top / bottom)
    return float(ratio.max())


def shares(projectors: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the share tr(P Y) / tr(Y) of each matrix Y in the range of its projector P, (m,).

    projectors, y: all P and Y, (m, n, n).
    """
    inside = (projectors * y).sum(axis=(-2, -1))  # tr(P Y), as P is symmetric
    return np.asarray(inside / np.trace(y, axis1=-2, axis2=-1))


def mean_entry(difference: np.ndarray) -> float:
    """Return the mean absolute value of the entries of a batch of matrices."""
    with np.errstate(all="ignore"):
        return float(np.abs(difference).mean())


def count_nonfinite(x: Array) -> int:
    """Return how many matrices of a batch contain a NaN or infinity."""
    # One fast pass. As a sum of finite entries may overflow, a bad sum is checked entry by entry.
    if isfinite(float(arrays.detach(x).sum())):
        return 0

    x = arrays.on_host(x)
    finite = namespace(x).isfinite(x).reshape(x.shape[0], -1)
    return int(x.shape[0] - int(finite.all(-1).sum()))
