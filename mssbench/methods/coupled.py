"""The coupled iteration behind most methods, given the factors of its steps.

    Y = A / c, Z = I;  for each factor h:  T = h(Z Y),  Y, Z = Y T, T Z
    A^{1/2} = √c Y,  A^{-1/2} = Z / √c

An eigenvalue w of A becomes √w P(x) and P(x) / √w with x = √(w/c) and P the composition of the
x h(x²) (Higham, Functions of Matrices, SIAM 2008, ch. 6). The order T Z matters: Z T diverges in
floating point. Z = I saves two products in the first step, and the last step skips the root that
nobody wants.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from mssbench.arrays import Array, dtype_name, eye_like, namespace, plus
from mssbench.methods import norms
from mssbench.methods.method import Root, Wanted
from mssbench.methods.minimax import Factor
from mssbench.methods.stopping import Stop, distance_to_identity, residual_of

Step: TypeAlias = Callable[[Array], Array]  # h: W -> T, (..., n, n)
_OWN = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2}  # products that h itself takes, by its degree in W


def iterate(x: Array, root_c: Array, factors: Sequence[Factor], wanted: Wanted) -> Root:
    """Roots of c X, where no eigenvalue of X exceeds 1.

    x: (..., n, n); root_c: (..., 1, 1), √c; factors: ascending coefficients of each h.
    """
    eye = eye_like(x)
    return couple(x, root_c, [partial(polynomial, factor, eye=eye) for factor in factors], wanted)


def couple(x: Array, root_c: Array, steps: Sequence[Step], wanted: Wanted) -> Root:
    """The same for any steps, each a function of W = Z Y."""
    y, z = x, None  # z: the identity, until it is something else
    keep, kept = "iterates" in wanted, [x]
    for left, h in zip(range(len(steps) - 1, -1, -1), steps, strict=True):
        t = h(y if z is None else z @ y)
        if keep:  # once each: Z is I in the first step, and in the second the T before it
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


def settle(x: Array, root_c: Array, h: Step, wanted: Wanted, stop: Stop) -> Root:
    """The same with one step `h` over and over, until every matrix has stopped.

    The last of its iterates says how many steps each matrix has taken, (..., 1, 1), whole numbers.
    """
    xp = namespace(x)
    y, z = x, None
    keep, kept, count = "iterates" in wanted, [x], 0
    while stop.goes_on:
        needless = stop.is_last
        t = h(y if z is None else z @ y)
        if keep:
            kept += [t] if z is None else [y, t] if len(kept) == 2 else [y, z, t]
        new_y = y if needless and "sqrt" not in wanted else y @ t
        new_z = z if needless and "isqrt" not in wanted else t if z is None else t @ z
        moved = stop.moved(lambda new_y=new_y: residual_of(new_y, x))  # type: ignore[misc]
        y = xp.where(moved, new_y, y)
        z = new_z if z is None or new_z is None else xp.where(moved, new_z, z)
        count = count + 1 * moved
    return Root(
        sqrt=y * root_c if "sqrt" in wanted else None,
        isqrt=(eye_like(x) if z is None else z) / root_c if "isqrt" in wanted else None,
        iterates=(*kept, count) if keep else (),
    )


Replayed: TypeAlias = tuple[Array, Array | None, Array, Array | None]


def replay(x: Array, *kept: Array) -> list[Replayed]:
    """(Y, Z, T, moved) of each step from the `iterates` of a root; Z of the first is None, for I.

    moved: which matrices took the step, (..., 1, 1), boolean; None where all of them did.
    """
    count = None
    if kept and "int" in dtype_name(kept[-1]):  # of `settle`; the others are matrices
        *kept, count = kept  # type: ignore[assignment]
    flat = (x, None, *kept[:2], *kept[:1], *kept[2:])
    steps = [flat[i : i + 3] for i in range(0, len(flat) - 2, 3)]
    return [(*each, None if count is None else count > k) for k, each in enumerate(steps)]


def where_moved(moved: Array, after: Array | None, before: Array | None) -> Array | None:
    """The adjoint `after` of a step where a matrix took it, else `before`; None is 0."""
    if after is None:
        return None
    return namespace(after).where(moved, after, 0.0 if before is None else before)


def inverse_settle(x: Array, factor: Factor, stop: Stop) -> Array:
    """`inverse_iterate` with one factor over and over, until every matrix has stopped."""
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
    """X^{-1/2} without Y: M = X, Z = I;  for each factor h:  T = h(M),  Z, M = Z T, T² M.

    M is what Z Y would be, from the old M rather than from a product of Z with the given matrix, so
    rounding does not grow either. As many products as `iterate` for one root.

    x: (..., n, n).
    """
    m, z, eye = x, None, eye_like(x)
    for left, factor in zip(range(len(factors) - 1, -1, -1), factors, strict=True):
        t = polynomial(factor, m, eye)
        z = t if z is None else z @ t
        if left:
            m = t @ t @ m
    return eye if z is None else z


def polynomial(c: Factor, w: Array, eye: Array) -> Array:
    """h(W) = Σ c_i W^i: a quadratic in one product, a cubic or quartic in two.

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
    """Batched products of one root and of its norm; both roots cost one more."""
    return cost([_OWN[len(c) - 1] for c in factors], norm)


def cost(own: Sequence[float], norm: norms.Norm) -> float:
    """The same for any steps, given the products that h itself takes in each."""
    per_step = [each + 3 for each in own]
    iteration = max(sum(per_step) - 3, per_step[0] - 2 if per_step else 1)
    return float(iteration + norms.products(norm))
