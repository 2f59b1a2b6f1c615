"""The root of a matrix whose small eigenvalues are null by decision, and its gradient.

The rank is decided by a tolerance, so that neither the pseudo-inverse root nor the derivative at
constant rank needs the limit of a matrix that is nearly singular. A float64 eigendecomposition is
then accurate to its rounding errors, magnified by the gap between what is kept and what is not.
"""

from typing import NamedTuple

import numpy as np

from mssbench.errors import Unsupported
from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS

# The derivative of the inverse root goes with the third power of what is the first in the root's
# square; to first order each power adds the perturbation once.
_POWERS = 4.0


class PseudoReference(NamedTuple):
    """What is right where eigenvalues up to a tolerance are null; all of it in float64."""

    a: Floats  # (m, n, n), A without what is null
    root: Floats  # (m, n, n)
    gradient: Floats  # (m, n, n), zero between two null directions
    identity: Floats  # (m, n, n), the projector onto what is kept
    condition: float  # of the worst of the matrices, among what is kept
    error: float  # how far root and gradient may be off, relative


def solve(a: Floats, g: Floats, function: str, rtol: float, unit: float) -> PseudoReference:
    """The root of the matrices a, (m, n, n), with eigenvalues up to rtol w_max null.

    function: sqrt or isqrt. g: (m, n, n), symmetric, the cotangent. unit: unit roundoff of the
    precision in which a method finds the eigenvalues.

    Raises Unsupported where an eigenvalue lies so near the tolerance that rounding decides whether
    it counts, or where nothing is left.
    """
    w, v = np.linalg.eigh(a)  # (m, n), (m, n, n)
    largest = w[:, -1:]
    if not (largest > 0).all():
        raise Unsupported("no eigenvalue of A is positive: nothing is left of it")
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
    # Near a tie the divided difference is the slope there, up to the square of the difference.
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
