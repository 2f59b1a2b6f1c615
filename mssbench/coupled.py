"""The coupled iteration behind every polynomial method, given the factors of its steps.

    Y = A / c, Z = I;  for each factor h:  T = h(Z Y),  Y, Z = Y T, T Z
    A^{1/2} = √c Y,  A^{-1/2} = Z / √c

An eigenvalue w of A becomes √w P(x) and P(x) / √w with x = √(w/c) and P the composition of the
x h(x²) (Higham, Functions of Matrices, SIAM 2008, ch. 6). The order T Z matters: Z T diverges in
floating point. Z = I saves two products in the first step, and the last step skips the root that
nobody wants.
"""

from collections.abc import Sequence

from mssbench.arrays import Array, eye_like
from mssbench.minimax import Factor
from mssbench.registry import Root, Wanted

_OWN = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2}  # products that h itself takes, by its degree in W


def iterate(x: Array, root_c: Array, factors: Sequence[Factor], wanted: Wanted) -> Root:
    """Roots of c X, where no eigenvalue of X exceeds 1.

    x: (..., n, n); root_c: (..., 1, 1), √c; factors: ascending coefficients of each h.
    """
    y, z, eye = x, None, eye_like(x)  # z: the identity, until it is something else
    for left, factor in zip(range(len(factors) - 1, -1, -1), factors, strict=True):
        t = polynomial(factor, y if z is None else z @ y, eye)
        if left or "sqrt" in wanted:
            y = y @ t
        if left or "isqrt" in wanted:
            z = t if z is None else t @ z
    return Root(
        sqrt=y * root_c if "sqrt" in wanted else None,
        isqrt=(eye if z is None else z) / root_c if "isqrt" in wanted else None,
    )


def polynomial(c: Factor, w: Array, eye: Array) -> Array:
    """h(W) = Σ c_i W^i: a quadratic in one product, a cubic or quartic in two.

    w: (..., n, n); eye: (n, n).
    """
    linear = c[0] * eye + c[1] * w
    if len(c) == 2:
        return linear
    w2 = w @ w
    if len(c) == 3:
        return linear + c[2] * w2
    if len(c) == 4:
        return linear + (c[2] * eye + c[3] * w) @ w2
    return linear + c[2] * w2 + (c[3] * w + c[4] * w2) @ w2


def products(factors: Sequence[Factor]) -> float:
    """Batched products of one root; both roots cost one more."""
    per_step = [2 + _OWN[len(c) - 1] + 1 for c in factors]
    return float(max(sum(per_step) - 3, per_step[0] - 2 if per_step else 1))
