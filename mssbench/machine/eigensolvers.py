"""Probes of the eigensolvers: times at n = 32 and 33, failures, and orthonormality."""

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
# Matrices per call. On a CPU a call then takes a millisecond, which is less than the time slice of
# a scheduler. On a GPU the batch is large enough to show whether it is solved matrix by matrix.
_BATCH = {"cpu": 24, "cuda": 64}
# Seconds of timing: normally, and if the ratio so far exceeds `_SUSPECT`.
_LONG, _LONGER = 0.1, 0.5
_SUSPECT = 1.25  # above the 1.10 of the arithmetic, below the ratio that `doctor` reports


class Cliff(NamedTuple):
    """Times of `eigh` at n = 32, the largest size of cuSOLVER's old batched routine, and at n = 33.

    A cliff is a time at n = 33 that is much longer than at n = 32.
    """

    library: str
    device: str
    precision: str
    seconds_32: float  # per matrix, fastest round; on a CPU the processor time of one thread
    seconds_33: float

    @property
    def ratio(self) -> float:
        """Time at n = 33 over that at n = 32; the arithmetic explains (33/32)³ = 1.10."""
        return self.seconds_33 / self.seconds_32


class Convergence(NamedTuple):
    """How often `eigh` failed on single covariances with dead channels (zero rows and columns).

    A failure is an exception (`raised`), a result that is not finite (`nan`), or eigenpairs that do
    not reproduce the matrix (`wrong`).
    """

    library: str
    device: str
    precision: str
    tried: int
    raised: int  # LinAlgError was raised
    nan: int  # the result is not finite, without an error
    wrong: int  # the result is finite, but V diag(w) Vᵀ is not A

    @property
    def failed(self) -> int:
        """Number of matrices that failed: `eigh` raised, gave NaN, or gave wrong eigenpairs."""
        return self.raised + self.nan + self.wrong


class Orthonormality(NamedTuple):
    """How far the eigenvectors of nearly equal eigenvalues are from orthonormal."""

    library: str
    device: str
    precision: str
    size: int
    worst: float | None  # max |VᵀV - I| over the batch; None if eigh gave no finite result

    @property
    def bound(self) -> float:
        """The largest value of `worst` that rounding explains."""
        return tolerance(self.size, self.precision)


def tolerance(n: int, precision: str) -> float:
    """Return 50 n u, the limit of the errors max |VᵀV - I| and ‖V diag(w) Vᵀ - A‖ / ‖A‖.

    w and V are the eigenpairs that `eigh` returns for A; u is the unit roundoff. MKL and OpenBLAS
    stay below 2 n u; LAPACK's own tests accept up to 120 n u (TESTING/sep.in).
    """
    return 50 * n * float(np.finfo(precision).eps) / 2


def cliff(library: str, device: str, precision: str) -> Cliff:
    """Time `eigh` on batches of n = 32 and n = 33 in turn, and keep the fastest round of each.

    On a CPU the processor time of a single thread is measured, because a second thread that waits
    for a busy core would make the times unreliable. A tenth of a second of timing is enough. If
    n = 33 seems to take much longer than n = 32 (a cliff), it is timed for half a second.
    """
    count = _BATCH[device]
    raw = {n: _matrices("wishart", n, count) for n in (32, 33)}
    batches = {n: _put(x, library, device, precision) for n, x in raw.items()}
    clock = time.thread_time if device == "cpu" else time.perf_counter
    best = dict.fromkeys(batches, inf)

    with threadpool_limits(1):
        for a in batches.values():
            _seconds(a, clock)  # the first call includes set-up, and is not counted

        start, rounds = time.perf_counter(), 0
        while True:
            for n, a in batches.items():
                best[n] = min(best[n], _seconds(a, clock) / count)
            rounds += 1
            result = Cliff(library, device, precision, best[32], best[33])
            elapsed = time.perf_counter() - start
            if rounds >= 3 and elapsed > (_LONGER if result.ratio > _SUSPECT else _LONG):
                return result


def convergence(library: str, device: str, precision: str) -> Convergence:
    """Count on how many of 25 covariances with dead channels (zero rows and columns) `eigh` fails.

    It fails if it raises LinAlgError (no convergence), if its result is not finite, or if its
    eigenpairs are wrong, which means that they do not reproduce the matrix up to rounding. The
    three are counted separately. MKL with AVX2 is known to fail on the first matrix, and on some of
    the 24 others.
    """
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
    """Measure the largest |VᵀV - I| of 32 matrices whose eigenvalues are nearly equal in groups.

    The product is computed in float64, so that only the rounding of V counts, and TF32 has no
    effect.
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
    """Return the matrices of a problem, (batch, n, n), in float64, rounded to float32."""
    return problems.cast(problems.make(problem, n, batch, 0).master, "float32")


def _put(x: Floats, library: str, device: str, precision: str) -> Array:
    return arrays.from_numpy(x, like=arrays.empty(library, device, precision))


def _seconds(a: Array, clock: Callable[[], float]) -> float:
    """Return the seconds of one `eigh`, with a copy of the eigenvalues to the host.

    The copy waits for the device.
    """
    start = clock()
    arrays.to_numpy(namespace(a).linalg.eigh(a)[0])
    return clock() - start


def _failure(x: Floats, library: str, device: str, precision: str) -> str | None:
    """Return how `eigh` fails on a matrix x, (n, n); None if it does not fail.

    "raised": it raises LinAlgError. "nan": its result is not finite. "wrong": V diag(w) Vᵀ is not x
    up to rounding, see `tolerance`.
    """
    a = _put(x, library, device, precision)
    try:
        w, v = namespace(a).linalg.eigh(a)
    except namespace(a).linalg.LinAlgError:
        return "raised"

    exact = _put(x, library, device, "float64")
    w, v = arrays.like(w, exact), arrays.like(v, exact)
    with np.errstate(all="ignore"):  # values that are not finite are expected here
        rest = arrays.frobenius_norm((v * w) @ arrays.transpose(v) - exact)
        residual = (rest / arrays.frobenius_norm(exact)).item()

    if not isfinite(residual):
        return "nan"
    return "wrong" if residual > tolerance(len(x), precision) else None
