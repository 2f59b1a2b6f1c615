"""The coupled iteration that most iterative methods share, for given factors of its steps.

    Y = A / c, Z = I;  for each factor h:  T = h(Z Y),  Y, Z = Y T, T Z
    A^{1/2} = √c Y,  A^{-1/2} = Z / √c

An eigenvalue w of A becomes √w P(x) in the root and P(x) / √w in the inverse root, where
x = √(w/c) and P is the composition of the functions x h(x²) (Higham, Functions of Matrices, SIAM
2008, ch. 6). The order T Z matters: with Z T the iteration diverges in floating point. The first
step saves two products because Z = I, and the last step skips a root that is not wanted.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from mssbench.arrays import Array, dtype_name, eye_like, namespace, plus
from mssbench.methods import norms
from mssbench.methods.method import Root, Wanted
from mssbench.methods.minimax import Factor
from mssbench.methods.stopping import StoppingState, distance_to_identity, residual_of

Step: TypeAlias = Callable[[Array], Array]  # h: W -> T, (..., n, n)
_OWN = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2}  # products to evaluate h, by its degree in W


def iterate(x: Array, root_c: Array, factors: Sequence[Factor], wanted: Wanted) -> Root:
    """Return the wanted roots of c X by polynomial factors; no eigenvalue of X may exceed 1.

    x: (..., n, n); root_c: (..., 1, 1), √c; factors: the coefficients of each h, ascending.
    """
    eye = eye_like(x)
    return couple(x, root_c, [partial(polynomial, factor, eye=eye) for factor in factors], wanted)


def couple(x: Array, root_c: Array, steps: Sequence[Step], wanted: Wanted) -> Root:
    """Return the wanted roots of c X by arbitrary steps; a step is a function W -> T of W = Z Y.

    x and root_c: as for `iterate`.
    """
    y, z = x, None  # None stands for the identity
    keep, kept = "iterates" in wanted, [x]

    for left, h in zip(range(len(steps) - 1, -1, -1), steps, strict=True):
        t = h(y if z is None else z @ y)
        if keep:  # each matrix once: Z is I in the first step, and the previous T in the second
            kept += [t] if z is None else [y, t] if len(kept) == 2 else [y, z, t]
        if left or "sqrt" in wanted:
            y = y @ t
        if left or "isqrt" in wanted:
            z = t if z is None else t @ z

    return Root(
        sqrt=y * root_c if "sqrt" in wanted else None,
        isqrt=(eye_like(x) if z is None else z) / root_c if "isqrt" in wanted else None,
        iterates=tuple(kept) if keep else (),
    )


def settle(x: Array, root_c: Array, h: Step, wanted: Wanted, stop: StoppingState) -> Root:
    """Return the wanted roots of c X, repeating one step `h` until every matrix has stopped.

    The last array in the field `iterates` is the number of steps that each matrix took, integers
    (..., 1, 1).
    """
    xp = namespace(x)
    y, z = x, None
    keep, kept, count = "iterates" in wanted, [x], 0

    while stop.goes_on:
        is_last = stop.is_last
        t = h(y if z is None else z @ y)
        if keep:
            kept += [t] if z is None else [y, t] if len(kept) == 2 else [y, z, t]
        new_y = y if is_last and "sqrt" not in wanted else y @ t
        new_z = z if is_last and "isqrt" not in wanted else t if z is None else t @ z

        # Matrices that have stopped keep their values.
        moved = stop.moved(lambda new_y=new_y: residual_of(new_y, x))  # type: ignore[misc]
        y = xp.where(moved, new_y, y)
        z = new_z if z is None or new_z is None else xp.where(moved, new_z, z)
        count = count + 1 * moved

    return Root(
        sqrt=y * root_c if "sqrt" in wanted else None,
        isqrt=(eye_like(x) if z is None else z) / root_c if "isqrt" in wanted else None,
        iterates=(*kept, count) if keep else (),
    )


ReplayedStep: TypeAlias = tuple[Array, Array | None, Array, Array | None]


def replay(x: Array, *kept: Array) -> list[ReplayedStep]:
    """Return (Y, Z, T, moved) of each step from the `iterates` of a root.

    Z of the first step is None, which stands for I. moved: which matrices took the step,
    (..., 1, 1), boolean; None if all of them did.
    """
    count = None
    if kept and "int" in dtype_name(kept[-1]):  # the numbers of steps, which `settle` appends
        *kept, count = kept  # type: ignore[assignment]
    flat = (x, None, *kept[:2], *kept[:1], *kept[2:])
    steps = [flat[i : i + 3] for i in range(0, len(flat) - 2, 3)]
    return [(*step, None if count is None else count > k) for k, step in enumerate(steps)]


def where_moved(moved: Array, after: Array | None, before: Array | None) -> Array | None:
    """Return `after` for matrices that took a step and `before` for the others; None stands for 0.

    before, after: the adjoint matrices before and after a backward has gone back through the step.
    """
    if after is None:
        return None
    return namespace(after).where(moved, after, 0.0 if before is None else before)


def inverse_settle(x: Array, factor: Factor, stop: StoppingState) -> Array:
    """Return X^{-1/2} as `inverse_iterate`, repeating one factor until every matrix has stopped."""
    xp, eye = namespace(x), eye_like(x)
    m, z = x, None

    while stop.goes_on:
        t = polynomial(factor, m, eye)
        new_m, new_z = t @ t @ m, t if z is None else z @ t
        moved = stop.moved(lambda new_m=new_m: distance_to_identity(new_m, eye))  # type: ignore[misc]
        m = xp.where(moved, new_m, m)
        z = new_z if z is None else xp.where(moved, new_z, z)
    return eye if z is None else z


def inverse_iterate(x: Array, factors: Sequence[Factor]) -> Array:
    """Return X^{-1/2} without Y: M = X, Z = I;  for each factor h:  T = h(M),  Z, M = Z T, T² M.

    x: (..., n, n). M plays the role of Z Y. Rounding errors do not grow, because M is updated from
    the previous M rather than computed from Z and X. The number of products is that of `iterate`
    for one root.
    """
    m, z, eye = x, None, eye_like(x)
    for left, factor in zip(range(len(factors) - 1, -1, -1), factors, strict=True):
        t = polynomial(factor, m, eye)
        z = t if z is None else z @ t
        if left:
            m = t @ t @ m
    return eye if z is None else z


def polynomial(c: Factor, w: Array, eye: Array) -> Array:
    """Return h(W) = Σ c_i W^i in one product for a quadratic, two for a cubic or quartic.

    w: (..., n, n); eye: (n, n).
    """
    linear = plus(c[0] * eye, c[1], w)
    if len(c) == 2:
        return linear

    w2 = w @ w
    if len(c) == 3:
        return plus(linear, c[2], w2)
    if len(c) == 4:
        return linear + plus(c[2] * eye, c[3], w) @ w2
    return plus(linear, c[2], w2) + plus(c[3] * w, c[4], w2) @ w2


def products(factors: Sequence[Factor], norm: norms.Norm) -> float:
    """Return the cost of one root with its norm, in batched matrix products; both cost 1 more."""
    return cost([_OWN[len(c) - 1] for c in factors], norm)


def cost(own: Sequence[float], norm: norms.Norm) -> float:
    """Return the cost in batched matrix products for arbitrary steps; own: to evaluate each h."""
    per_step = [count + 3 for count in own]
    iteration = max(sum(per_step) - 3, per_step[0] - 2 if per_step else 1)
    return float(iteration + norms.products(norm))
