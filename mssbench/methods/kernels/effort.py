"""The work of a launch, told to whoever counts: no library's own dispatcher sees our kernels.

In products of two n x n matrices, 2 n³ flop, of the batch's own n, not the one padded to. It is
what the kernels do, and a change of theirs is a change here: of a symmetric or skew product only a
triangle, half a product; in the first step Z = I; in the last only what is wanted.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple, Protocol, TypeAlias

from mssbench.arrays import Array, dtype_name
from mssbench.methods.kernels.variants import Family
from mssbench.methods.minimax import Factor

Kernel: TypeAlias = Family | Literal["triton"]
# Of Jacobi's method: rotating A, of which half is kept, takes 4 n³ flop a sweep, and V as many.
_SWEEP = 4.0
# Seen were 6 to 13, the last of which finds nothing to turn: n = 8 to 64, conditions 10 to 1e4.
_SWEEPS = 8


class Effort(NamedTuple):
    """Of one launch."""

    matrices: int
    n: int
    dtype: str
    products: float  # of each matrix
    estimated: float  # likewise, of what is iterative: how much it is depends on the matrix
    rounded: bool  # the products, to operands of fewer digits: another ceiling is theirs


class Listener(Protocol):
    """Whoever counts. It is told of every launch of the process, and knows which are its own."""

    def launched(self, effort: Effort) -> None:
        """Called in the thread that has launched."""


# Almost always empty, which a launch asks first: a timed call pays for one look.
listeners: list[Listener] = []


def announce(
    kernel: Kernel,
    batch: Array,
    factors: Sequence[Factor],
    given: Sequence[bool],
    *,
    rounded: bool = False,
) -> None:
    """Tell the listeners of a launch.

    batch: (b, n, n). given: which arguments of the kernel, in its order, are there. rounded: its
    products are of operands that tensor cores round.
    """
    products, estimated = _work(kernel, factors, given)
    matrices, n = prod(batch.shape[:-2]), int(batch.shape[-1])
    effort = Effort(matrices, n, dtype_name(batch), products, estimated, rounded)
    for listener in tuple(listeners):
        listener.launched(effort)


def _work(kernel: Kernel, factors: Sequence[Factor], given: Sequence[bool]) -> tuple[float, float]:
    """Products, and the estimate of what is iterative."""
    if kernel == "iterate":  # A, Y, Z
        return iterate(factors, sqrt=given[1], isqrt=given[2]), 0.0
    if kernel == "triton":
        return triton(factors), 0.0
    if kernel == "lyapunov":  # Y, Z
        return lyapunov(factors, inverse=given[1]), 0.0
    if kernel == "jacobi":  # A, Y, Z: of each root that is wanted, V d Vᵀ in full
        return float(given[1] + given[2]), _SWEEPS * _SWEEP
    return 3.0, 0.0  # loewner: Vᵀ G and V X in full, and two triangles


def iterate(factors: Sequence[Factor], *, sqrt: bool, isqrt: bool) -> float:
    """W = Z Y;  T = h(W);  Y, Z <- Y T, T Z: the first two in full."""
    last, found = len(factors) - 1, 0.0
    for k, factor in enumerate(factors):
        first = k == 0
        found += (not first) + (len(factor) > 2) + (len(factor) > 4)
        found += (k < last or sqrt) / 2 + (not first and (k < last or isqrt)) / 2
    return found


def triton(factors: Sequence[Factor]) -> float:
    """The same of triton_iterate.py, in which every step is alike and all is in full.

    A product in tf32x3 counts once, though it is computed of three.
    """
    return len(factors) * (3.0 + any(len(factor) > 2 for factor in factors))


def lyapunov(factors: Sequence[Factor], *, inverse: bool) -> float:
    """B², D = B C - C B;  H, K of their squares;  B <- B H, C <- sym(B K + C H): all triangles.

    Before it B² once, to scale by, and for the inverse root Z G in full and Z G Z.
    """
    found = (0.5 + 1.5 * inverse) - (0.5 if factors else 0.0)  # the last step needs no B
    for factor in factors:
        found += 1.5 + 2.5 + (1.5 if len(factor) > 2 else 0.0)
    return found
