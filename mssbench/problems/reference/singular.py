"""What can be said of the gradient of a singular matrix: all but its block between null directions.

The gradient of A^{1/2} in the eigenbasis is (Vᵀ G V)_ij / (d_i + d_j). Where both d are 0 it does
not exist; where one is, it does, and so does what a network sees of it, S X for features X with
A = X Xᵀ. In a precision with unit roundoff u an eigenvalue below n u times the largest is rounding;
in bfloat16 that would be everything at n = 256, so n u counts up to √u only.
"""

from typing import NamedTuple

import numpy as np


class Partial(NamedTuple):
    """The part of a gradient that exists."""

    gradient: np.ndarray  # (m, n, n), its block between null directions zero
    null: np.ndarray  # (m, n, n), projectors onto the null directions
    error: float  # how far rounding eigenvalues may move it, relative


def gradient(a: np.ndarray, g: np.ndarray, unit: float) -> Partial:
    """Gradient of A^{1/2} without the block between null directions.

    a: (m, n, n), symmetric, with null directions. g: (m, n, n), symmetric, the cotangent.
    unit: unit roundoff of the precision that a was cast to.
    """
    w, v = np.linalg.eigh(a)  # (m, n), (m, n, n)
    noise = min(a.shape[-1] * unit, unit**0.5) * w[:, -1:]
    null = w <= noise
    d = np.sqrt(np.where(null, 0.0, w))
    sums = d[:, :, None] + d[:, None, :]
    inverse = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    vt = v.swapaxes(-1, -2)
    s = v @ (inverse * (vt @ g @ v)) @ vt
    # a null direction may have any root up to that of the noise: 1 / (d_i + d_j) moves by this much
    smallest = np.where(null, np.inf, d).min(axis=-1)
    moved = np.sqrt(noise[:, 0].clip(0)) / smallest
    return Partial(s, (v * null[:, None, :]) @ vt, float(min(moved.max(), 1.0)))
