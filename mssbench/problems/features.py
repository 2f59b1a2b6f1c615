"""Features X with X Xᵀ / M = A for the matrices A of a problem, as a pooling layer takes them.

These are not the features that the generator of the problem drew. They are X = √M V diag(√w) Qᵀ for
A = V diag(w) Vᵀ and random orthonormal columns Q. Such features exist for every problem, including
those that were modified or read from a file. The root of X Xᵀ / M does not depend on Q and its
gradient with respect to X rotates with Q, so that the errors are those of any other choice.
"""

import numpy as np

from mssbench import problems
from mssbench.problems.rng import Floats, Streams
from mssbench.problems.text import parse

# Eigenvalues up to this many times n ε times the largest one are rounding errors of zeros.
_ROUNDING = 4.0


def features(name: str, size: int, batch: int, seed: int) -> Floats:
    """Return features X, (b, n, M), with X Xᵀ / M = A up to rounding, for the problem's matrices A.

    M is the number of samples that the problem declares, such as round(ratio n) for `wishart`, but
    at least the largest rank of its matrices. If the problem declares no number, M is that rank.
    Raises RegistryError for an invalid name, Unsupported for a size that the problem does not have,
    and NotInstalled if an optional package is missing.
    """
    problem = problems.make(name, size, batch, seed)
    w, v = np.linalg.eigh(problem.master)  # (b, n), (b, n, n)
    kept = w > _ROUNDING * size * np.finfo(float).eps * w[:, -1:]
    rank = max(1, int(kept.sum(1).max()))
    base = parse(problem.name)[0]
    declared = base.generator.samples
    samples = max(rank, declared(size, **base.given) if declared else 0)

    d, v = np.sqrt(np.where(kept, w, 0.0))[:, -rank:], v[:, :, -rank:]
    rng = Streams(f"samples of {problem.name}", size, range(batch), seed)
    q = np.linalg.qr(rng.normal(samples, rank))[0]  # (b, M, r)
    x: Floats = samples**0.5 * (v * d[:, None, :]) @ q.swapaxes(1, 2)
    return x
