"""The polynomial factors of the kernels' iterations, for the rounding of their products."""

from functools import lru_cache
from math import sqrt
from typing import Any

from mssbench.methods import coupled
from mssbench.methods.kernels.variants import KernelNorm, Operands
from mssbench.methods.method import Steps
from mssbench.methods.minimax import Factor, plan, taylor

# The unit roundoff of a product, by its operands. tf32x3 is one bit less accurate than float32.
UNIT: dict[Operands, float] = {"tf32x3": 2.0**-23, "tf32": 2.0**-11, "bfloat16": 2.0**-8}
_RIPPLE = 1e-3  # the error of a schedule in units of rounding, see forward/minimax.py


@lru_cache(maxsize=256)  # methods call this in every timed call
def of_roots(
    degree: int, iterations: Steps, finish: int, unit: float, n: int
) -> tuple[Factor, ...]:
    """Return `iterations` minimax and `finish` Taylor factors for the widest possible spectrum.

    With `iterations` = 0 the `finish` steps are those of Newton–Schulz, of degree 3; with "auto"
    there are as many steps as the widest spectrum that rounding allows needs. unit: the unit
    roundoff of products; n: their size. Raises Unsupported if the steps are too few for a schedule.
    """
    if iterations == 0:
        return (taylor(3),) * max(finish, 1)
    made = plan(degree, iterations, 0.0, finish, error=_RIPPLE * unit, floor=_floor(unit, n))
    return made.factors


@lru_cache(maxsize=256)
def of_gradient(
    degree: int, iterations: Steps, finish: int, unit: float, n: int
) -> tuple[Factor, ...]:
    """Return the factors for the sign iteration of the gradient, as in lyapunov_minimax.

    The arguments are those of `of_roots`. With `iterations` = 0 the `finish` steps are Taylor
    factors of this degree, which for degree 3 is Newton–Schulz.
    """
    if iterations == 0:
        return (taylor(degree),) * max(finish, 1)
    return plan(degree, iterations, 0.0, finish, error=2 * unit, floor=_floor(unit, n)).factors


def _floor(unit: float, n: int) -> float:
    """Return the least √(w/c) of an eigenvalue w that is not a mere rounding error.

    unit: the unit roundoff of products; n: their size. See forward/minimax.py.
    """
    return min(3 * sqrt(unit * sqrt(n)), 0.5)


def products(degree: int, iterations: int, finish: int, norm: KernelNorm, **_: Any) -> float:
    """Return the cost of a root in matrix products, with the steps of `of_roots`."""
    steps = [taylor(degree)] * iterations + [taylor(min(degree, 5))] * finish
    return coupled.products(steps if iterations else [taylor(3)] * max(finish, 1), norm)


def gradient_products(degree: int, iterations: int, finish: int, **_: Any) -> float:
    """Return the cost of a gradient in matrix products: its steps, and those for the scaling."""
    steps = iterations + finish if iterations else max(finish, 1)  # as in `of_gradient`
    return 1 + {3: 5.0, 5: 7.0}[degree] * steps
