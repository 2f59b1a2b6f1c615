"""Features whose covariance a problem's matrices are: what a pooling layer is given.

The features of a problem are not those that its generator drew. They are X = √M V diag(√w) Qᵀ for
A = V diag(w) Vᵀ and random orthonormal columns Q, so that X Xᵀ / M = A and X can be had for every
problem, also for one that was modified or read from a file. The root of X Xᵀ / M and its gradient
with respect to X turn with Q, and so have the same errors as for any other choice.
"""

import numpy as np

from mssbench import problems
from mssbench.problems.rng import Floats, Streams
from mssbench.problems.text import parse

# In units of n ε times the largest eigenvalue: up to there an eigenvalue of A is a rounding error.
_ROUNDING = 4.0


def features(name: str, size: int, batch: int, seed: int) -> Floats:
    """X, (b, n, M), with X Xᵀ / M = A within rounding, A the matrices of the problem.

    M is the number of samples that the problem declares, such as round(ratio n) for `wishart`, but
    at least the largest rank of its matrices; where it declares none, M is that rank.
    Raises what `problems.make` raises.
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
