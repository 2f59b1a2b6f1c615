"""The inverse Cholesky factor W of A and its gradient, in more than float64 where a machine has it.

With A = L Lᵀ and W = L^{-1}, a change dA of A changes W by -Φ(W dA Wᵀ) W, where Φ keeps the lower
triangle with half of the diagonal. The gradient of a loss with the cotangent G of W is therefore
-Wᵀ Φ(G Wᵀ) W, of which the symmetric part is taken.

Source: Murray, Differentiation of the Cholesky decomposition, arXiv 1602.07527 (2016).
"""

from typing import Any, NamedTuple

import numpy as np

from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS

# 64 bits on x86, 113 in software on some other machines, and those of float64 on the rest.
_WIDE = np.longdouble
_SAFETY = 8.0  # on an estimate that holds to first order


class InverseFactor(NamedTuple):
    """What is right for m matrices, rounded to float64."""

    w: Floats  # (m, n, n), lower triangular, W A Wᵀ = I
    gradient: Floats  # (m, n, n), symmetric
    error: float  # how far the gradient may be off, relative


def solve(a: Floats, g: Floats) -> InverseFactor:
    """W and its gradient of the positive definite matrices a, for the cotangents g of W.

    a, g: (m, n, n). The upper triangle of g meets the zeros of W and has no part in the result.
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
    """L, (m, n, n), column by column."""
    factor = np.zeros_like(a)
    for j in range(a.shape[-1]):
        known = factor[:, j:, :j]
        column = a[:, j:, j] - (known * factor[:, None, j, :j]).sum(-1)
        factor[:, j:, j] = column / np.sqrt(column[:, :1])
    return factor


def _inverse(factor: Any) -> Any:
    """L^{-1}, (m, n, n), row by row."""
    w = np.zeros_like(factor)
    for i in range(factor.shape[-1]):
        row = -(factor[:, i, :i, None] * w[:, :i]).sum(1)
        row[:, i] += 1
        w[:, i] = row / factor[:, i, i, None]
    return w
