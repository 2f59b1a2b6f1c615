"""The reference for the gradient of singular matrices, except its block between null directions.

With A = V diag(d²) Vᵀ and the cotangent G, the gradient S of A^{1/2} is (Vᵀ G V)_ij / (d_i + d_j)
in the eigenbasis. It does not exist where both d_i and d_j are 0, which is between two null
directions. It exists where only one of them is 0, and so does S X, the gradient with respect to
features X with A = X Xᵀ up to a factor. In a precision with unit roundoff u, eigenvalues below n u
times the largest one are rounding errors. In bfloat16 at n = 256 this would include all
eigenvalues, so that n u is replaced by √u if that is smaller.
"""

from typing import NamedTuple

import numpy as np


class Partial(NamedTuple):
    """The gradients of m matrices without the parts that do not exist."""

    gradient: np.ndarray  # (m, n, n), zero in the block between null directions
    null: np.ndarray  # (m, n, n), projectors onto the null directions
    error: float  # estimate of the relative change by rounding errors of the eigenvalues


def gradient(a: np.ndarray, g: np.ndarray, unit: float) -> Partial:
    """Return the gradient of A^{1/2} without the block between null directions.

    a: (m, n, n), symmetric, with null directions. g: (m, n, n), symmetric, the cotangent.
    unit: the unit roundoff of the precision that a was cast to.
    """
    w, v = np.linalg.eigh(a)  # (m, n), (m, n, n)
    noise = min(a.shape[-1] * unit, unit**0.5) * w[:, -1:]
    null = w <= noise
    d = np.sqrt(np.where(null, 0.0, w))
    sums = d[:, :, None] + d[:, None, :]
    inverse = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    vt = v.swapaxes(-1, -2)
    s = v @ (inverse * (vt @ g @ v)) @ vt

    # A null eigenvalue may be anything up to the noise, which changes 1 / (d_i + d_j) by this much.
    smallest = np.where(null, np.inf, d).min(axis=-1)
    moved = np.sqrt(noise[:, 0].clip(0)) / smallest
    return Partial(s, (v * null[:, None, :]) @ vt, float(min(moved.max(), 1.0)))
