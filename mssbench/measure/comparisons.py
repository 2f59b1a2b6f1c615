"""Norms, products and counts of small batches of matrices, in float64 on the host."""

from functools import reduce
from math import isfinite

import numpy as np
import torch

from mssbench import arrays
from mssbench.arrays import Array, namespace

_SMALL = 64  # the largest matrices that numpy's BLAS multiplies in one thread


def product(*factors: np.ndarray) -> np.ndarray:
    """The product of batches of matrices in float64, large ones computed by torch.

    The threads of torch wait actively for some time after a method's last operation. Those of
    numpy's own BLAS would compete with them for the cores: it took five times as long at n = 256.
    """
    if factors[0].shape[-1] <= _SMALL:
        return reduce(np.matmul, factors)
    return reduce(torch.matmul, [torch.from_numpy(x) for x in factors]).numpy()


def exponential(x: np.ndarray) -> np.ndarray:
    """The exponential of symmetric matrices, (m, n, n); NaN for one that is not finite."""
    finite = np.isfinite(x).all((1, 2), keepdims=True)
    w, v = np.linalg.eigh(np.where(finite, x, 0.0))
    return np.where(finite, product(v * np.exp(w)[:, None, :], v.swapaxes(-1, -2)), np.nan)


def frobenius(x: np.ndarray) -> np.ndarray:
    """The Frobenius norm of each matrix, (m, n, k) -> (m,): twice as fast as numpy's own."""
    norms: np.ndarray = np.sqrt(np.einsum("mij,mij->m", x, x))
    return norms


def relative(difference: np.ndarray, exact: np.ndarray) -> float:
    """Worst relative Frobenius error over a batch; of a zero matrix, 0 if it was met exactly."""
    with np.errstate(all="ignore"):
        return worst_ratio(frobenius(difference), frobenius(exact))


def worst_ratio(top: np.ndarray, bottom: np.ndarray) -> float:
    """The largest ratio of two norms, both (m,); 0 / 0 is 0. NaN where one of them is NaN."""
    with np.errstate(all="ignore"):
        ratio = np.where(bottom == 0, np.where(top == 0, 0.0, top * np.inf), top / bottom)
    return float(ratio.max())


def shares(projectors: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(m,): the share of the trace of each y that lies in the range of its projector.

    projectors, y: (m, n, n).
    """
    inside = (projectors * y).sum(axis=(-2, -1))  # tr(P Y), as P is symmetric
    return np.asarray(inside / np.trace(y, axis1=-2, axis2=-1))


def mean_entry(difference: np.ndarray) -> float:
    """Mean absolute value of an entry, over a batch of matrices of one size."""
    with np.errstate(all="ignore"):
        return float(np.abs(difference).mean())


def count_nonfinite(x: Array) -> int:
    """How many matrices of a batch hold a nan or inf."""
    if isfinite(
        float(arrays.detach(x).sum())
    ):  # one fast pass; a sum that overflows is looked at again
        return 0
    x = arrays.on_host(x)
    finite = namespace(x).isfinite(x).reshape(x.shape[0], -1)
    return int(x.shape[0] - int(finite.all(-1).sum()))
