"""The work of each kernel launch, for listeners that count it.

Counters built on the dispatcher of a library do not see these kernels. Work is measured in products
of two n x n matrices, 2 n³ flop each, for the n of the batch rather than the padded size. The
counts must follow the kernels: only one triangle of a symmetric or skew-symmetric product is
computed, which is half a product; Z = I in the first step; the last step computes only the roots
that are wanted.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple, Protocol, TypeAlias

from mssbench.arrays import Array, dtype_name
from mssbench.methods.kernels.variants import Family
from mssbench.methods.minimax import Factor

Kernel: TypeAlias = Family | Literal["triton"]
# Products per sweep of Jacobi's method: rotating A, of which half is stored, takes 4 n³ flop, and
# rotating V takes as many.
_SWEEP = 4.0
# The assumed number of sweeps. 6 to 13 were observed for n = 8 to 64 and conditions 10 to 1e4; the
# last sweep only finds that no rotation is needed.
_SWEEPS = 8


class Effort(NamedTuple):
    """The work of one kernel launch, counted in matrix products."""

    matrices: int
    n: int
    dtype: str
    products: float  # per matrix
    estimated: float  # additional products per matrix whose number depends on the matrix
    rounded: bool  # whether operands are rounded for tensor cores, whose peak rate is different


class Listener(Protocol):
    """An object that counts launches. It is notified of every launch in the process."""

    def launched(self, effort: Effort) -> None:
        """Receive the work of a launch, in the thread that made it."""


# Almost always empty. A launch checks that first, so that a timed call costs one test.
listeners: list[Listener] = []


def announce(
    kernel: Kernel,
    batch: Array,
    factors: Sequence[Factor],
    given: Sequence[bool],
    *,
    rounded: bool = False,
) -> None:
    """Notify all listeners of a launch.

    batch: (b, n, n). given: for each array argument of the kernel whether it is present. rounded:
    whether the products run on tensor cores, which round their operands.
    """
    products, estimated = _work(kernel, factors, given)
    matrices, n = prod(batch.shape[:-2]), int(batch.shape[-1])
    effort = Effort(matrices, n, dtype_name(batch), products, estimated, rounded)
    for listener in tuple(listeners):
        listener.launched(effort)


def _work(kernel: Kernel, factors: Sequence[Factor], given: Sequence[bool]) -> tuple[float, float]:
    """Return the number of products per matrix, and an estimate of those of an iterative part."""
    if kernel == "iterate":  # the arguments are A, Y, Z
        return iterate(factors, sqrt=given[1], isqrt=given[2]), 0.0
    if kernel == "triton":
        return triton(factors), 0.0
    if kernel == "lyapunov":  # the arguments are Y, Z, ...
        return lyapunov(factors, inverse=given[1]), 0.0

    # The arguments of jacobi are A, Y, Z, ...; each wanted root takes one full product V d Vᵀ.
    if kernel == "jacobi":
        return float(given[1] + given[2]), _SWEEPS * _SWEEP
    return 3.0, 0.0  # loewner: Vᵀ G and V X in full, and two triangles


def iterate(factors: Sequence[Factor], *, sqrt: bool, isqrt: bool) -> float:
    """Count the products in W = Z Y;  T = h(W);  Y, Z <- Y T, T Z, the first two in full."""
    last, count = len(factors) - 1, 0.0
    for k, factor in enumerate(factors):
        first = k == 0
        count += (not first) + (len(factor) > 2) + (len(factor) > 4)
        count += (k < last or sqrt) / 2 + (not first and (k < last or isqrt)) / 2
    return count


def triton(factors: Sequence[Factor]) -> float:
    """Count the products of the iteration in triton_iterate.py.

    Every step has the same number of products, and none of them is saved by symmetry. A product
    in tf32x3 counts once, although it consists of three.
    """
    return len(factors) * (3.0 + any(len(factor) > 2 for factor in factors))


def lyapunov(factors: Sequence[Factor], *, inverse: bool) -> float:
    """Count the products in the Lyapunov kernel, of which all but Z G are triangles.

    They are B² for the scaling and, for the inverse root, Z G in full and Z G Z; then in every step
    B², D = B C - C B;  H, K from their squares;  B <- B H, C <- sym(B K + C H).
    """
    count = (0.5 + 1.5 * inverse) - (0.5 if factors else 0.0)  # the last step needs no B
    for factor in factors:
        count += 1.5 + 2.5 + (1.5 if len(factor) > 2 else 0.0)
    return count
