"""Odd polynomials that come closest to 1 on an interval, and schedules of them.

The coupled iteration with factors h_i moves x = √(w/c) of an eigenvalue w to P(x), the composition
of the p_i(x) = x h_i(x²). So the best factors for spectra with x in [l, 1] are the best odd
polynomials for 1, each on the interval that the one before it leaves (Chen & Chow, SIAM J. Sci.
Comput. 36 (2014), for degree 3; Amsel et al., The Polar Express, arXiv 2505.16932; Grishina et al.,
CANS, arXiv 2506.10935).
"""

from functools import lru_cache
from math import factorial, floor, log10, prod
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from mssbench.errors import Unsupported
from mssbench.methods.method import AUTO, Steps

Factor: TypeAlias = tuple[float, ...]  # h(w) = Σ c_i w^i of one step; p(x) = x h(x²)
_NARROWEST = 1e-9  # of `lower`: below it the exchange has no digits left
# Half-width to centre, to the power of the number of coefficients: below this the best error is
# rounding, and the polynomial that is exact at the centre to that order is as good.
_COLLAPSED = 1e-11
_SMALL = 1e-3
# Degree 3 in float64 needs 23 for the floor that rounding sets; a kernel holds no more than 32.
_MOST_STEPS = 30
# A schedule that ends further from 1 than this was made for more steps than it got.
CUT_SHORT = 0.05


class Schedule(NamedTuple):
    """The factors of all steps, and what they do to [lower, 1]."""

    factors: tuple[Factor, ...]
    error: float  # max |1 - P(x)| for x in [lower, 1]
    slope: float  # P'(0): how much rounding on a null direction grows


@lru_cache  # a method asks in every call, which is timed
def taylor(degree: int) -> Factor:
    """Factor of order (degree + 1) / 2 at 1: the Newton–Schulz family, (1.5, -0.5) for degree 3.

    h(w) = (1 - r)^{-1/2} with r = 1 - w, cut off behind r^q, q = (degree - 1) / 2.
    """
    h, b = Polynomial([0.0]), 1.0
    for i in range((degree + 1) // 2):
        h += b * Polynomial([1.0, -1.0]) ** i
        b *= (2 * i + 1) / (2 * i + 2)
    return tuple(float(c) for c in h.coef)


@lru_cache(maxsize=1024)
def best(lower: float, upper: float, degree: int) -> tuple[Factor, float]:
    """The odd polynomial of this degree closest to 1 on [lower, upper], and its largest error.

    Remez: an error that is equally large with alternating signs in q + 2 points is the smallest
    possible; the points move to the extrema of the error, which are roots of p', until it is.
    """
    q = (degree - 1) // 2
    if ((upper - lower) / (upper + lower)) ** (q + 1) < _COLLAPSED:
        m = (upper + lower) / 2
        factor = tuple(c / m ** (2 * i + 1) for i, c in enumerate(taylor(degree)))
        return factor, _after_taylor(degree, (upper - lower) / (upper + lower))
    domain = [lower**2, upper**2]  # of w = x²
    points = (lower + upper) / 2 - (upper - lower) / 2 * np.cos(np.pi * np.arange(q + 2) / (q + 1))
    signs = (-1.0) ** np.arange(q + 2)
    w = Polynomial([0.0, 1.0])
    error = np.inf
    for _ in range(100):
        basis = np.stack([Chebyshev.basis(i, domain)(points**2) * points for i in range(q + 1)], 1)
        *c, level = np.linalg.solve(np.column_stack([basis, signs]), np.ones(q + 2))
        h = Chebyshev(c, domain)
        slope = h + 2 * h.deriv() * Chebyshev.cast(w, domain=domain)  # p'(x) in terms of w
        inner = np.sort(slope.roots().real).clip(domain[0], domain[1])
        points = np.concatenate([[lower], np.sqrt(inner), [upper]])
        if abs(abs(level) - error) <= 1e-13 * abs(level):
            break
        error = abs(level)
    factor = tuple(float(x) for x in Polynomial.cast(h).coef)
    return factor, float(np.abs(1 - evaluate(factor, points)).max())


def evaluate(factor: Factor, x: np.ndarray) -> np.ndarray:
    """p(x) = x h(x²)."""
    h: np.ndarray = np.zeros_like(x)
    for c in reversed(factor):
        h = h * (x * x) + c
    p: np.ndarray = x * h
    return p


@lru_cache(maxsize=256)
def schedule(lower: float, degree: int, steps: int, finish: tuple[int, ...] = ()) -> Schedule:
    """`steps` minimax factors of `degree` for [lower, 1], then Taylor factors of degrees `finish`.

    A schedule belongs to its interval as a whole. Its error is spread evenly, so one that was made
    for a wider interval and cut short is far from 1 everywhere: make another with a higher `lower`.
    """
    factors, low, high = [], lower, 1.0
    for _ in range(steps):
        factor, error = best(low, high, degree)
        factors.append(factor)
        low, high = 1 - error, 1 + error
    error = high - 1 if steps else 1 - lower
    for each in finish:
        factors.append(taylor(each))
        error = _after_taylor(each, error)
    slope = prod(factor[0] for factor in factors)
    return Schedule(tuple(factors), error, slope)


def _after_taylor(degree: int, error: float) -> float:
    """Max |1 - p(x)| for |1 - x| <= error and p the Taylor polynomial: C error^{q+1} when small."""
    if error < _SMALL:  # where 1 - p(x) would be rounding
        q = (degree - 1) // 2
        return prod(range(1, 2 * q + 2, 2)) / factorial(q + 1) * error ** (q + 1)
    ends = evaluate(taylor(degree), np.array([1 - error, 1 + error]))
    return float(np.abs(1 - ends).max())


@lru_cache(maxsize=256)
def widest(degree: int, steps: int, finish: tuple[int, ...], error: float) -> float:
    """The smallest `lower` at which a schedule still ends within `error` of 1, to two digits.

    It is no less than 1e-9: rounding allows none, and Remez in float64 ends at 1e-11.
    """
    low, high = -9.0, -1e-3  # log10
    while high - low > 1e-2:
        middle = (low + high) / 2
        if schedule(10**middle, degree, steps, finish).error <= error:
            high = middle
        else:
            low = middle
    return two_digits_up(10**high)


@lru_cache(maxsize=256)
def steps_for(lower: float, degree: int, finish: tuple[int, ...], error: float) -> int:
    """How many steps of `degree` end within `error` of 1 on [lower, 1], before those of `finish`.

    That is what "auto" means for a schedule: it belongs to its interval as a whole and cannot stop
    early, so the precision alone decides, and no matrix is looked at.
    """
    steps = 1
    while steps < _MOST_STEPS and schedule(lower, degree, steps, finish).error > error:
        steps += 1
    return steps


def two_digits_up(x: float) -> float:
    """The next number that two digits can write: 0.0123 -> 0.013."""
    return float(f"{x + 0.5 * 10.0 ** (floor(log10(x)) - 1):.1e}")


def check_lower(lower: float, least: float) -> None:
    """Raise Unsupported for a lower end of [lower, 1] that is none; 0 stands for a planned one."""
    if lower and not least <= lower < 1:
        raise Unsupported(
            f"lower = {lower:g} is the lower end of [lower, 1], {least:g} at least; "
            "0 to have it planned"
        )


def plan(
    degree: int, steps: Steps, lower: float, finish: int, *, error: float, floor: float
) -> Schedule:
    """The schedule of these parameters; with `lower` = 0 for the widest interval they can serve.

    That is the widest from which the steps end within `error` of 1, but no wider than `floor`.
    With `steps` = "auto" they are as many as serve the interval: from `lower`, else from `floor`.
    Raises Unsupported for a schedule that the steps cannot complete, or an interval that is none.
    """
    check_lower(lower, _NARROWEST)
    tail = (min(degree, 5),) * finish
    if steps == AUTO:
        lower = lower or min(floor, 0.5)  # in bfloat16 rounding allows next to nothing
        steps = steps_for(lower, degree, tail, error)
    elif lower == 0:
        lower = max(widest(degree, steps, tail, error), floor)
    made = schedule(min(lower, 0.999), degree, steps, tail)
    if made.error > CUT_SHORT:
        raise Unsupported(
            f"{steps} steps of degree {degree} end {made.error:.2g} away from the root on "
            f"[{lower:g}, 1]: take more steps or a higher lower, or 0 to have it planned"
        )
    return made
