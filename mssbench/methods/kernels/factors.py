"""The factors that kernels iterate by, for what their products round to."""

from functools import lru_cache
from math import sqrt
from typing import Any

from mssbench.methods import coupled
from mssbench.methods.kernels.variants import Norm, Operands
from mssbench.methods.method import Steps
from mssbench.methods.minimax import Factor, plan, taylor

# The unit roundoff of a product by its operands. Three products in tf32 lose a bit of float32.
UNIT: dict[Operands, float] = {"tf32x3": 2.0**-23, "tf32": 2.0**-11, "bfloat16": 2.0**-8}
_RIPPLE = 1e-3  # as in minimax


@lru_cache(maxsize=256)  # a method asks in every call, which is timed
def of_roots(
    degree: int, iterations: Steps, finish: int, unit: float, n: int
) -> tuple[Factor, ...]:
    """`iterations` minimax factors and `finish` of Taylor, for the widest spectrum they can serve.

    With `iterations` = 0 the others are Newton–Schulz, of degree 3; with "auto" they are as many as
    serve all that rounding allows. unit: the roundoff of a product of n rows. Raises Unsupported
    where the steps cannot complete a schedule.
    """
    if iterations == 0:
        return (taylor(3),) * max(finish, 1)
    made = plan(degree, iterations, 0.0, finish, error=_RIPPLE * unit, floor=_floor(unit, n))
    return made.factors


@lru_cache(maxsize=256)
def of_gradient(
    degree: int, iterations: Steps, finish: int, unit: float, n: int
) -> tuple[Factor, ...]:
    """The same for the sign iteration of the gradient, as in lyapunov_minimax.

    With `iterations` = 0 the others are of Taylor and of this degree: for 3 those of Newton–Schulz.
    """
    if iterations == 0:
        return (taylor(degree),) * max(finish, 1)
    return plan(degree, iterations, 0.0, finish, error=2 * unit, floor=_floor(unit, n)).factors


def _floor(unit: float, n: int) -> float:
    """The least √(w/c) that rounding allows, see minimax."""
    return min(3 * sqrt(unit * sqrt(n)), 0.5)


def products(degree: int, iterations: int, finish: int, norm: Norm, **_: Any) -> float:
    """What a method declares: the products of a chain by `of_roots`' steps, and of the norm."""
    steps = [taylor(degree)] * iterations + [taylor(min(degree, 5))] * finish
    return coupled.products(steps if iterations else [taylor(3)] * max(finish, 1), norm)


def gradient_products(degree: int, iterations: int, finish: int, **_: Any) -> float:
    """The same of a gradient: those of `of_gradient`'s steps, and one to scale by."""
    return 1 + {3: 5.0, 5: 7.0}[degree] * (iterations + finish)
