"""The reference for roots in which eigenvalues up to a tolerance `rtol` are zero.

The tolerance determines the rank, so that the pseudo-inverse root and its derivative at constant
rank are well defined. They are computed by a float64 eigendecomposition, whose rounding errors are
amplified by the inverse of the gap between the eigenvalues that are kept and the others.
"""

from typing import NamedTuple

import numpy as np

from mssbench.errors import Unsupported
from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS

# A factor on the error estimate. The derivative of the inverse root depends on the eigenvalues to a
# third power, and to first order each power contributes the relative perturbation once.
_POWERS = 4.0


class PseudoReference(NamedTuple):
    """The reference roots and gradients of m matrices with a tolerance, in float64."""

    a: Floats  # (m, n, n), A with its null eigenvalues set to 0
    root: Floats  # (m, n, n)
    gradient: Floats  # (m, n, n), zero between two null directions
    identity: Floats  # (m, n, n), the projector onto the range
    condition: float  # the largest condition of the matrices, among the eigenvalues that are kept
    error: float  # estimate of the relative error of root and gradient


def solve(a: Floats, g: Floats, function: str, rtol: float, unit: float) -> PseudoReference:
    """Return the root of the matrices a, (m, n, n), with eigenvalues up to rtol w_max set to 0.

    function: sqrt or isqrt. g: (m, n, n), symmetric, the cotangent. unit: unit roundoff of the
    precision in which a method computes the eigenvalues.

    Raises Unsupported if an eigenvalue is so close to the tolerance that rounding determines
    whether it counts, or if a matrix has no positive eigenvalue.
    """
    w, v = np.linalg.eigh(a)  # (m, n), (m, n, n)
    largest = w[:, -1:]
    if not (largest > 0).all():
        raise Unsupported("no eigenvalue of A is positive, so that nothing is left of it")
    limit = rtol * largest
    if (abs(w - limit) <= w.shape[-1] * unit * largest).any():
        raise Unsupported(
            f"an eigenvalue of A lies at rtol = {rtol:g}, within rounding: it may count or not"
        )

    kept = w > limit
    p = 0.5 if function == "sqrt" else -0.5
    f = np.where(kept, np.where(kept, w, 1.0) ** p, 0.0)
    live = np.where(kept, w, 0.0)

    difference = live[:, :, None] - live[:, None, :]
    rise = f[:, :, None] - f[:, None, :]
    slope = np.where(kept, p * np.where(kept, w, 1.0) ** (p - 1), 0.0)
    middle = (slope[:, :, None] + slope[:, None, :]) / 2
    # For nearly equal eigenvalues the divided difference is the mean slope, with an error of the
    # order of the squared difference.
    near = abs(difference) <= EPS ** (1 / 3) * np.maximum(live[:, :, None], live[:, None, :])
    divided = np.where(near, middle, rise / np.where(near, 1.0, difference))

    vt = v.swapaxes(1, 2)
    smallest = np.where(kept, w, np.inf).min(1)
    below = np.where(kept, 0.0, w).max(1).clip(0)
    gap = (smallest - below) / largest[:, 0]
    return PseudoReference(
        (v * live[:, None, :]) @ vt,
        (v * f[:, None, :]) @ vt,
        v @ (divided * (vt @ g @ v)) @ vt,
        (v * kept[:, None, :]) @ vt,
        float((largest[:, 0] / smallest).max()),
        float((_POWERS * w.shape[-1] * EPS / gap).max()),
    )
