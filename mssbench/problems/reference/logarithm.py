"""The logarithm of symmetric matrices and its gradient, with an estimate of their errors.

Both are computed from an eigendecomposition. Its backward error is about n ε w_max, and the
logarithm multiplies this by at most 1 / w_min, its largest derivative. The divided differences are
computed by log1p, which no method uses, so that reference and methods do not share a mistake.

Source: Higham, Functions of Matrices, SIAM 2008, Theorem 3.11.
"""

from typing import NamedTuple

import numpy as np

from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS

_SAFETY = 4.0  # factor on error estimates that hold to first order


class LogarithmReference(NamedTuple):
    """The reference logarithms of m matrices and their gradients."""

    log: Floats  # (m, n, n)
    gradient: Floats  # (m, n, n), symmetric
    error_log: float  # estimate of the relative error of `log`, for the worst matrix
    error_gradient: float  # the same of `gradient`


def solve(a: Floats, g: Floats) -> LogarithmReference:
    """Return the logarithms of positive definite matrices a, and gradients for the cotangents g.

    a, g: (m, n, n), symmetric.
    """
    w, v = np.linalg.eigh(a)
    log = (v * np.log(w)[:, None, :]) @ v.swapaxes(1, 2)

    larger = np.maximum(w[:, :, None], w[:, None, :])
    smaller = np.minimum(w[:, :, None], w[:, None, :])
    # (log larger - log smaller) / (larger - smaller) = log1p(x) / x / smaller
    x = (larger - smaller) / smaller
    quotient = np.where(x == 0, 1.0, np.log1p(x) / np.where(x == 0, 1.0, x))
    s = v @ (quotient / smaller * (v.swapaxes(1, 2) @ g @ v)) @ v.swapaxes(1, 2)

    n = a.shape[-1]
    condition = w[:, -1] / w[:, 0]
    perturbed = _SAFETY * n * EPS * condition  # (m,), relative error of the smallest eigenvalue
    norms = np.linalg.norm(log, axis=(1, 2))
    error_log = perturbed / np.maximum(norms, np.finfo(float).tiny)
    return LogarithmReference(
        (log + log.swapaxes(1, 2)) / 2,
        (s + s.swapaxes(1, 2)) / 2,
        float(np.where(norms == 0, 0.0, error_log).max()),
        float(perturbed.max()),
    )
