"""What the eigensolvers of this machine do: their time at two sizes, failures, orthonormality."""

import time
from collections.abc import Callable
from functools import lru_cache
from math import inf, isfinite
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from mssbench import arrays, problems
from mssbench.arrays import Array, namespace
from mssbench.problems.rng import Floats

PRECISIONS = ("float32", "float64")
# Matrices a call. On a CPU it takes a millisecond, less than a scheduler lets a thread run; a GPU
# must be seen to take all at once or one by one.
_BATCH = {"cpu": 24, "cuda": 64}
_LONG, _LONGER = 0.1, 0.5  # seconds of rounds
_SUSPECT = 1.25


class Cliff(NamedTuple):
    """Time of `eigh` at the last size of cuSOLVER's old batched routine, and at the next."""

    library: str
    device: str
    precision: str
    seconds_32: float  # a matrix of a batch, fastest round; on a CPU one thread's own time
    seconds_33: float

    @property
    def ratio(self) -> float:
        """Of 33 to 32; (33/32)³ = 1.10 is what the arithmetic explains."""
        return self.seconds_33 / self.seconds_32


class Convergence(NamedTuple):
    """What `eigh` made of covariances with dead channels, given one by one."""

    library: str
    device: str
    precision: str
    tried: int
    raised: int  # LinAlgError
    nan: int  # an answer that is not finite, without an error
    wrong: int  # a finite answer whose V diag(w) Vᵀ is not A

    @property
    def failed(self) -> int:
        """In any of the three ways."""
        return self.raised + self.nan + self.wrong


class Orthonormality(NamedTuple):
    """How far the eigenvectors of a batch with nearly equal eigenvalues are from orthonormal."""

    library: str
    device: str
    precision: str
    size: int
    worst: float | None  # max |VᵀV - I| over the batch; None where eigh gave no finite answer

    @property
    def bound(self) -> float:
        """Largest `worst` that rounding explains."""
        return tolerance(self.size, self.precision)


def tolerance(n: int, precision: str) -> float:
    """50 n u, u the unit roundoff: of max |VᵀV - I|, and of ‖V diag(w) Vᵀ - A‖ / ‖A‖.

    MKL and OpenBLAS stay below 2 n u; 120 n u passes LAPACK's own tests (TESTING/sep.in).
    """
    return 50 * n * float(np.finfo(precision).eps) / 2


def cliff(library: str, device: str, precision: str) -> Cliff:
    """Time a batch of n = 32 and one of 33 in turn; the fastest round of each counts.

    On a CPU one thread works, by its own time: a helper that waits for a busy core would turn the
    times of two sizes into anything. A tenth of a second is enough, unless there seems to be a
    cliff: that is looked at longer.
    """
    count = _BATCH[device]
    raw = {n: _matrices("wishart", n, count) for n in (32, 33)}
    batches = {n: _put(x, library, device, precision) for n, x in raw.items()}
    clock = time.thread_time if device == "cpu" else time.perf_counter
    best = dict.fromkeys(batches, inf)
    with threadpool_limits(1):
        for a in batches.values():
            _seconds(a, clock)  # with its set-up, and forgotten
        start, rounds = time.perf_counter(), 0
        while True:
            for n, a in batches.items():
                best[n] = min(best[n], _seconds(a, clock) / count)
            rounds += 1
            found = Cliff(library, device, precision, best[32], best[33])
            spent = time.perf_counter() - start
            if rounds >= 3 and spent > (_LONGER if found.ratio > _SUSPECT else _LONG):
                return found


def convergence(library: str, device: str, precision: str) -> Convergence:
    """One that MKL is known to fail on, with AVX2, and 24 like it, of which it fails on some."""
    counts = {"raised": 0, "nan": 0, "wrong": 0}
    batch = np.concatenate(
        [
            _matrices("pinned(matrix=eigh_nonconv_64)", 64, 1),
            _matrices("dead_channels(frac=0.8)", 64, 24),
        ]
    )
    with threadpool_limits(1):
        for a in batch:
            if failure := _failure(a, library, device, precision):
                counts[failure] += 1
    return Convergence(library, device, precision, len(batch), **counts)


def orthonormality(library: str, device: str, precision: str, n: int) -> Orthonormality:
    """The largest |VᵀV - I| of 32 matrices whose eigenvalues are equal in groups, or nearly.

    The product is taken in float64, so that no rounding but that of V counts, and no TF32.
    """
    a = _put(_matrices("clusters(gap=1e-6)", n, 32), library, device, precision)
    with threadpool_limits(1):
        try:
            v = arrays.to_numpy(namespace(a).linalg.eigh(a)[1])
        except namespace(a).linalg.LinAlgError:
            return Orthonormality(library, device, precision, n, None)
        worst = float(abs(v.swapaxes(-1, -2) @ v - np.eye(n)).max())
    return Orthonormality(library, device, precision, n, worst if isfinite(worst) else None)


@lru_cache(maxsize=8)
def _matrices(problem: str, n: int, batch: int) -> Floats:
    """(batch, n, n), float64 on the CPU, exact in float32, the same bits everywhere."""
    return problems.cast(problems.make(problem, n, batch, 0).master, "float32")


def _put(x: Floats, library: str, device: str, precision: str) -> Array:
    return arrays.from_numpy(x, like=arrays.empty(library, device, precision))


def _seconds(a: Array, clock: Callable[[], float]) -> float:
    """Of one `eigh`, with the copy of a few eigenvalues to the host: no device answers earlier."""
    start = clock()
    arrays.to_numpy(namespace(a).linalg.eigh(a)[0])
    return clock() - start


def _failure(x: Floats, library: str, device: str, precision: str) -> str | None:
    """How `eigh` fails on one matrix; None where its eigenpairs are those of x, (n, n)."""
    a = _put(x, library, device, precision)
    try:
        w, v = namespace(a).linalg.eigh(a)
    except namespace(a).linalg.LinAlgError:
        return "raised"
    exact = _put(x, library, device, "float64")
    w, v = arrays.like(w, exact), arrays.like(v, exact)
    with np.errstate(all="ignore"):  # what is not finite is what is asked for
        rest = arrays.frobenius_norm((v * w) @ arrays.transpose(v) - exact)
        residual = (rest / arrays.frobenius_norm(exact)).item()
    if not isfinite(residual):
        return "nan"
    return "wrong" if residual > tolerance(len(x), precision) else None
