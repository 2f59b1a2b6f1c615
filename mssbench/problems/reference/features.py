"""The reference for the root of X Xᵀ / M and its gradient with respect to the features X.

With the singular value decomposition of X, A^{1/2} = U diag(s) Uᵀ / √M. The covariance is not
formed, so that the root is accurate for fewer samples than dimensions.
"""

from typing import NamedTuple

import numpy as np

from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS

_SAFETY = 8.0  # factor on an error estimate that holds to first order


class OfFeatures(NamedTuple):
    """The reference root and gradient for m matrices of features, in float64."""

    a: Floats  # (m, n, n), X Xᵀ / M
    root: Floats  # (m, n, n)
    gradient: Floats  # (m, n, M), zero in its component outside · unused, which does not exist
    outside: Floats  # (m, n, n), the projector onto the directions in which X vanishes
    unused: Floats  # (m, M, M), the projector onto combinations of samples that vanish
    error_root: float  # estimate of the relative error of `root`
    error_gradient: float  # estimate of the relative error of `gradient`


def solve(x: Floats, g: Floats, unit: float) -> OfFeatures:
    """Return root and gradient for features x: (m, n, M), and symmetric cotangents g: (m, n, n).

    unit: the unit roundoff of the precision that x was cast to. Singular values up to
    min(max(n, M) unit, √unit) times the largest one are rounding errors of zeros.

    dL/dX = 2 / √M (U (H ∘ S) + (I - U Uᵀ) G U) Vᵀ with X = U diag(s) Vᵀ, the cotangent G of the
    root, H = Uᵀ G U and S_ij = s_j / (s_i + s_j).

    A change that moves a vanishing combination of samples in a direction in which X vanishes raises
    the rank. The root has a kink there, and no derivative.
    """
    n, samples = x.shape[1:]
    u, s, vt = np.linalg.svd(x, full_matrices=False)  # (m, n, r), (m, r), (m, r, M)
    root = (u * s[:, None, :]) @ u.swapaxes(1, 2) / samples**0.5
    noise = min(max(n, samples) * max(unit, EPS), unit**0.5) * s[:, :1]
    live = s > noise
    s = np.where(live, s, 0.0)
    u, v = u * live[:, None, :], vt.swapaxes(1, 2) * live[:, None, :]

    sums = s[:, :, None] + s[:, None, :]
    share = np.divide(s[:, None, :], sums, out=np.zeros_like(sums), where=sums > 0)
    gu = g @ u
    h = u.swapaxes(1, 2) @ gu
    gradient = 2 / samples**0.5 * (u @ (h * share) + gu - u @ h) @ v.swapaxes(1, 2)

    smallest = np.where(live, s, np.inf).min(1)
    # Null singular values may be anything up to the noise, as in `singular.gradient`.
    moved = np.where(~live.all(1), noise[:, 0] / np.where(smallest > 0, smallest, 1.0), 0.0)
    condition = np.where(s[:, 0] > 0, s[:, 0] / np.where(smallest > 0, smallest, 1.0), 1.0)
    rank = live.sum(1)[:, None, None]
    rounding = _SAFETY * max(n, samples) * EPS
    return OfFeatures(
        x @ x.swapaxes(1, 2) / samples,
        root,
        gradient,
        np.where(rank == n, 0.0, np.eye(n) - u @ u.swapaxes(1, 2)),
        np.where(rank == samples, 0.0, np.eye(samples) - v @ v.swapaxes(1, 2)),
        rounding,
        float(min(max(rounding * condition.max(), moved.max()), 1.0)),
    )
