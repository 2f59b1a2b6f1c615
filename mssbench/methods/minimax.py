"""Best odd polynomial approximations of 1 on an interval, and schedules, which are lists of them.

The coupled iteration with factors h_i maps x = √(w/c) of an eigenvalue w to P(x), the composition
of the polynomials p_i(x) = x h_i(x²). The best factors for spectra with x in [l, 1] therefore are
best odd approximations of 1, each on the interval onto which the previous one maps (Chen & Chow,
SIAM J. Sci. Comput. 36 (2014), for degree 3; Amsel et al., The Polar Express, arXiv 2505.16932;
Grishina et al., CANS, arXiv 2506.10935).
"""

from functools import lru_cache
from math import factorial, floor, log10, prod
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from mssbench.errors import Unsupported
from mssbench.methods.method import AUTO, Steps

Factor: TypeAlias = tuple[float, ...]  # h(w) = Σ c_i w^i of one step; p(x) = x h(x²)
# The smallest allowed `lower`. At 1e-9 the Remez algorithm in float64 finds the right polynomials
# of degrees 3 to 9. At 1e-11 the one of degree 5 is wrong, because of rounding errors.
_NARROWEST = 1e-9
# Limit for (half-width / centre)^(number of coefficients). Below it the best error is of the order
# of rounding, and the Taylor polynomial at the centre is as good.
_COLLAPSED = 1e-11
# Below this error 1 - p(x) suffers from cancellation, and a series is used.
_SMALL = 1e-3
# The most steps that "auto" takes. Degree 3 in float64 needs 23 for the interval that rounding
# allows; a kernel holds at most 32.
_MOST_STEPS = 30
# A schedule whose error is larger than this has too few steps for its interval.
CUT_SHORT = 0.05


class Schedule(NamedTuple):
    """The factors of all steps, and the error and slope of their composition P.

    lower: the end of the interval that the schedule was made for, see `plan`.
    """

    factors: tuple[Factor, ...]
    error: float  # max |1 - P(x)| for x in [lower, 1]
    slope: float  # P'(0), by which rounding errors in null directions grow


@lru_cache  # methods call this in every timed call
def taylor(degree: int) -> Factor:
    """Return the Taylor factor of the Newton–Schulz family, which is (1.5, -0.5) for degree 3.

    h(w) is the series of (1 - r)^{-1/2}, r = 1 - w, up to r^q with q = (degree - 1) / 2. A step
    converges with order q + 1 = (degree + 1) / 2 near w = 1.
    """
    h, b = Polynomial([0.0]), 1.0
    for i in range((degree + 1) // 2):
        h += b * Polynomial([1.0, -1.0]) ** i
        b *= (2 * i + 1) / (2 * i + 2)
    return tuple(float(c) for c in h.coef)


@lru_cache(maxsize=1024)
def best(lower: float, upper: float, degree: int) -> tuple[Factor, float]:
    """Return the factor h of the best odd approximation x h(x²) of 1, and its largest error.

    It is the polynomial of this degree closest to 1 on [lower, upper], by the Remez algorithm: the
    error is smallest if it has equal magnitude and alternating signs at q + 2 points. The points
    are moved to the extrema of the error, which are roots of p', until this holds.
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
    """Return p(x) = x h(x²) at the points x, for the factor h."""
    h: np.ndarray = np.zeros_like(x)
    for c in reversed(factor):
        h = h * (x * x) + c
    p: np.ndarray = x * h
    return p


@lru_cache(maxsize=256)
def schedule(lower: float, degree: int, steps: int, finish: tuple[int, ...] = ()) -> Schedule:
    """Return `steps` minimax factors of `degree` for [lower, 1], then Taylor factors `finish`.

    finish: the degrees of the Taylor factors. A schedule must be used as a whole: its error is
    spread evenly over the interval, so that the first steps alone end far from 1 everywhere. For
    fewer steps make another schedule with a higher `lower`.
    """
    factors, low, high = [], lower, 1.0
    for _ in range(steps):
        factor, error = best(low, high, degree)
        factors.append(factor)
        low, high = 1 - error, 1 + error

    error = high - 1 if steps else 1 - lower
    for taylor_degree in finish:
        factors.append(taylor(taylor_degree))
        error = _after_taylor(taylor_degree, error)
    slope = prod(factor[0] for factor in factors)
    return Schedule(tuple(factors), error, slope)


def _after_taylor(degree: int, error: float) -> float:
    """Return max |1 - p(x)| over |1 - x| <= error for the Taylor polynomial p: C error^{q+1}."""
    if error < _SMALL:
        q = (degree - 1) // 2
        return prod(range(1, 2 * q + 2, 2)) / factorial(q + 1) * error ** (q + 1)

    ends = evaluate(taylor(degree), np.array([1 - error, 1 + error]))
    return float(np.abs(1 - ends).max())


@lru_cache(maxsize=256)
def widest(degree: int, steps: int, finish: tuple[int, ...], error: float) -> float:
    """Return the smallest `lower` at which a schedule ends within `error` of 1, to two digits.

    `lower` is the left end of the interval [lower, 1] of the schedule. It is never below 1e-9: no
    precision has matrices for which a smaller one would help, and at 1e-11 the Remez algorithm in
    float64 fails for some degrees, such as 5.
    """
    low, high = -9.0, -1e-3  # log10, bisected
    while high - low > 1e-2:
        middle = (low + high) / 2
        if schedule(10**middle, degree, steps, finish).error <= error:
            high = middle
        else:
            low = middle

    return two_digits_up(10**high)


@lru_cache(maxsize=256)
def steps_for(lower: float, degree: int, finish: tuple[int, ...], error: float) -> int:
    """Return the number of steps of `degree`, before those of `finish`, for an error of `error`.

    This is the meaning of "auto" for a schedule on [lower, 1]. A schedule cannot stop early, so
    that the precision alone determines the number of steps, and no matrix is inspected.
    """
    steps = 1
    while steps < _MOST_STEPS and schedule(lower, degree, steps, finish).error > error:
        steps += 1
    return steps


def two_digits_up(x: float) -> float:
    """Round up to two significant digits: 0.0123 -> 0.013."""
    return float(f"{x + 0.5 * 10.0 ** (floor(log10(x)) - 1):.1e}")


def check_lower(lower: float, least: float) -> None:
    """Raise Unsupported unless least <= lower < 1, or lower is 0: then `plan` finds a value."""
    if lower and not least <= lower < 1:
        raise Unsupported(
            f"lower = {lower:g} is not in [{least:g}, 1): it is the lower end of the interval "
            "[lower, 1]. Take 0 to have it planned"
        )


def plan(
    degree: int, steps: Steps, lower: float, finish: int, *, error: float, floor: float
) -> Schedule:
    """Return the schedule, the polynomial factors of all steps, for the interval [lower, 1].

    degree, steps: of the minimax polynomials x h(x²), and their number. "auto" stands for as many
    as the interval needs to end within `error` of 1.
    lower: 0 stands for the smallest value for which the given steps end within `error` of 1, but
    at least `floor`. If the steps are "auto" too, it stands for `floor`.
    finish: the number of Taylor factors (see `taylor`) at the end.
    floor: the smallest useful `lower`; numbers below it are rounding errors of zeros.
    Raises Unsupported if the steps are too few for the interval, or `lower` is out of range.
    """
    check_lower(lower, _NARROWEST)
    tail = (min(degree, 5),) * finish
    if steps == AUTO:
        lower = lower or min(floor, 0.5)  # in bfloat16 `floor` may be close to 1 or above
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
