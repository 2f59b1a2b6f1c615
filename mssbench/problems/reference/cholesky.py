"""The inverse Cholesky factor W of A and its gradient, in extended precision where available.

With A = L Lᵀ and W = L^{-1}, a change dA of A changes W by -Φ(W dA Wᵀ) W, where Φ keeps the lower
triangle and halves the diagonal. The gradient of a loss with the cotangent G of W is therefore the
symmetric part of -Wᵀ Φ(G Wᵀ) W.

Source: Murray, Differentiation of the Cholesky decomposition, arXiv 1602.07527 (2016).
"""

from typing import Any, NamedTuple

import numpy as np

from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS

# Its significand has 64 bits on x86, 113 (in software) on some other machines, and on the rest 53,
# as that of float64.
_WIDE = np.longdouble
_SAFETY = 8.0  # factor on an error estimate that holds to first order


class InverseFactor(NamedTuple):
    """The inverse Cholesky factors W of m matrices and the gradients, rounded to float64."""

    w: Floats  # (m, n, n), lower triangular, W A Wᵀ = I
    gradient: Floats  # (m, n, n), symmetric
    error: float  # estimate of the gradient's relative error, for the worst matrix


def solve(a: Floats, g: Floats) -> InverseFactor:
    """Return the inverse Cholesky factors W of matrices, and the gradients.

    a: (m, n, n), symmetric positive definite. g: (m, n, n), the cotangents of W. Their entries
    above the diagonal have no effect, since W is zero there.
    """
    factor = _factor(a.astype(_WIDE))
    w = _inverse(factor)

    half = np.tril(g.astype(_WIDE) @ w.swapaxes(1, 2))
    n = a.shape[-1]
    half[:, range(n), range(n)] /= 2
    s = -w.swapaxes(1, 2) @ half @ w
    s = (s + s.swapaxes(1, 2)) / 2

    condition = float(np.linalg.cond(a).max())
    error = _SAFETY * n * float(np.finfo(_WIDE).eps) * condition + EPS
    return InverseFactor(w.astype(float), s.astype(float), error)


def _factor(a: Any) -> Any:
    """Return the Cholesky factor L, (m, n, n), computed column by column."""
    factor = np.zeros_like(a)
    for j in range(a.shape[-1]):
        known = factor[:, j:, :j]
        column = a[:, j:, j] - (known * factor[:, None, j, :j]).sum(-1)
        factor[:, j:, j] = column / np.sqrt(column[:, :1])
    return factor


def _inverse(factor: Any) -> Any:
    """Return the inverse L^{-1}, (m, n, n), computed row by row."""
    w = np.zeros_like(factor)
    for i in range(factor.shape[-1]):
        row = -(factor[:, i, :i, None] * w[:, :i]).sum(1)
        row[:, i] += 1
        w[:, i] = row / factor[:, i, i, None]
    return w
