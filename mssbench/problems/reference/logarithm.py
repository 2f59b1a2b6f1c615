"""The logarithm of symmetric matrices and its gradient, with an estimate of their errors.

They come from an eigendecomposition, whose backward error of about n ε times the largest eigenvalue
reaches a logarithm through 1 / w_min, the largest derivative there is. The divided differences of
the logarithm are written with log1p, which no method here does.

Source: Higham, Functions of Matrices, SIAM 2008, Theorem 3.11.
"""

from typing import NamedTuple

import numpy as np

from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS

_SAFETY = 4.0  # on estimates that hold to first order


class Logarithm(NamedTuple):
    """What is right for m matrices."""

    log: Floats  # (m, n, n)
    gradient: Floats  # (m, n, n), symmetric
    error_log: float  # how far each may be off, relative
    error_gradient: float


def solve(a: Floats, g: Floats) -> Logarithm:
    """Logarithm and gradient of positive definite matrices. a, g: (m, n, n), symmetric."""
    w, v = np.linalg.eigh(a)
    log = (v * np.log(w)[:, None, :]) @ v.swapaxes(1, 2)

    larger = np.maximum(w[:, :, None], w[:, None, :])
    smaller = np.minimum(w[:, :, None], w[:, None, :])
    x = (larger - smaller) / smaller  # log larger - log smaller = log1p(x), divided by x smaller
    quotient = np.where(x == 0, 1.0, np.log1p(x) / np.where(x == 0, 1.0, x))
    s = v @ (quotient / smaller * (v.swapaxes(1, 2) @ g @ v)) @ v.swapaxes(1, 2)

    n = a.shape[-1]
    condition = w[:, -1] / w[:, 0]
    perturbed = _SAFETY * n * EPS * condition  # (m,), relative, of the smallest eigenvalue
    norms = np.linalg.norm(log, axis=(1, 2))
    error_log = perturbed / np.maximum(norms, np.finfo(float).tiny)
    return Logarithm(
        (log + log.swapaxes(1, 2)) / 2,
        (s + s.swapaxes(1, 2)) / 2,
        float(np.where(norms == 0, 0.0, error_log).max()),
        float(perturbed.max()),
    )
