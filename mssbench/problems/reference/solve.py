"""Reference roots and gradients that are more accurate than float64 methods, with error estimates.

A float64 eigendecomposition is not accurate enough for a reference: at condition 1e12 its root has
an error of 1e-11 and the gradient computed from it one of 1e-5. Here it is only the start of an
iterative refinement. With A = V diag(w) Vᵀ and d = sqrt(w), a Lyapunov solve in the eigenbasis
corrects roots and gradients, provided that the residual is much more accurate:

    root           R = A - Y Y              Y <- Y + E,  Y E + E Y = R
    inverse root   R = I - Y Z              Z <- Z + Z R
    gradient       R = R0 - Y S - S Y       S <- S + E,  Y E + E Y = R
                   R0 = G for the root, -Z G Z for the inverse root
    E = V (VᵀRV / (d_i + d_j)) Vᵀ

Each corrected matrix is the unevaluated sum of two float64 matrices, `hi + lo`, and residuals have
about 100 bits (double_double.py), so that the bits of a reference do not depend on the machine.

Higham, Functions of Matrices, SIAM 2008.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mssbench.errors import RegistryError, Unsupported, unknown
from mssbench.problems.reference.double_double import (
    DoubleDouble,
    Floats,
    minus_square,
    norm,
    plus,
    product,
    symmetric,
)

Bools: TypeAlias = NDArray[np.bool_]
EPS = 2.0**-52
_TINY = 2.0**-1022
_STEPS = 8  # refinement steps; two or three are typical, and more than 8 mean no convergence
_ROUNDED = 2.0**-53  # relative error of hi alone, the nearest float64 to each entry
_ENOUGH = 2.0**-95  # smaller corrections are below the resolution of hi + lo
_SAFETY = 4.0  # factor on estimates that hold to first order; the largest one needed was 1.9
_NULL_FLOOR = 1e-8  # least error of a root with null directions: the root of their noise, √EPS


class _Refined(NamedTuple):
    """The refined root Y of positive definite B, Y Y = B, to about 25 digits, with A = 4^k B."""

    k: NDArray[np.int64]  # (m, 1, 1); the largest entry of B is in [1/4, 1)
    v: Floats  # (m, n, n), eigenvectors in float64
    d: Floats  # (m, n), eigenvalues of Y in float64, ascending
    y: DoubleDouble
    error: Floats  # (m,), relative, of y

    @property
    def condition(self) -> Floats:
        """(m,): |Y|_F / d_min, by which an error of Y grows in its inverse and in gradients."""
        return norm(self.y.hi) / self.d[:, 0]


class _RefinedInverse(NamedTuple):
    """The refined inverse Z of the root Y of a positive definite matrix, Z Y = I, and its error."""

    z: DoubleDouble  # Z Y = I
    error: Floats  # (m,), relative, of z


class _SolvedRoots(NamedTuple):
    """The roots of m matrices without zero rows."""

    y: Floats  # (m, n, n), the roots
    w: Floats  # (m, n), the eigenvalues of A, ascending
    error: Floats  # (m,), estimates of the relative errors of y
    singular: Bools  # (m,)
    refined: _Refined | None  # None if one of the matrices is singular


@dataclass(frozen=True, eq=False)
class Reference:
    """Roots of m matrices, estimates of their errors, and the data for gradients."""

    sqrt: Floats  # (m, n, n), the root of the positive semidefinite part of A
    isqrt: Floats | None  # (m, n, n); None if not requested, or if any of the m is singular
    error_sqrt: float  # estimate of the largest relative Frobenius error of sqrt
    error_isqrt: float  # the same for isqrt; nan if that is None
    w: Floats  # (m, n), eigenvalues of A computed in float64, ascending
    singular: Bools  # (m,): not verified to be positive definite, so without inverse and gradient
    _refined: _Refined | None = None
    _inverse: _RefinedInverse | None = None


def solve(a: Floats, want_isqrt: bool = True) -> Reference:
    """Return the reference for the float64 matrices a: (m, n, n), symmetric.

    Zero rows are removed first, so that the root has exact zeros there. If the rest is positive
    definite, its root is refined to the last bit. If it is singular or indefinite, this is not
    possible, since Y E + E Y = R has no solution between null directions. The root of its positive
    semidefinite part is then computed by an eigendecomposition, with an error of about 1e-8 in
    float64, the square root of the noise in the null space.

    Raises Unsupported for a matrix with NaN or infinite entries.
    """
    if not np.isfinite(a).all():
        raise Unsupported("no reference: the matrix has entries that are not finite")

    live: Bools = (a != 0).any(axis=-1)  # (m, n), the rows that are not zero
    if live.all():
        roots = _roots(a)
    else:
        parts = [_roots_of_live(one, rows) for one, rows in zip(a, live, strict=True)]
        y, w, error, singular = (np.concatenate(column) for column in zip(*parts, strict=True))
        roots = _SolvedRoots(y, w, error, singular, None)

    refined, inverse, isqrt, error_isqrt = roots.refined, None, None, float("nan")
    if want_isqrt and refined is not None:
        inverse = _invert(refined)
        isqrt = np.ldexp(inverse.z.hi, -refined.k)
        error_isqrt = float((_ROUNDED + inverse.error).max())

    return Reference(
        roots.y,
        isqrt,
        float(roots.error.max()),
        error_isqrt,
        roots.w,
        roots.singular,
        refined,
        inverse,
    )


def gradient(reference: Reference, function: str, g: Floats) -> tuple[Floats, float]:
    """Return the gradient s = dL/dA and an estimate of its largest relative Frobenius error.

    function: "sqrt" or "isqrt". g: (m, n, n), symmetric, the cotangent. s: (m, n, n), symmetric.

    Raises Unsupported if any of the m matrices is singular. Its gradient does not exist between two
    null directions; `singular.gradient` computes the rest.
    """
    if function not in ("sqrt", "isqrt"):
        raise RegistryError(unknown("function", function, ("sqrt", "isqrt")))
    c = reference._refined
    if c is None:
        raise Unsupported(
            "the matrix is singular: its gradient has no value between two null directions"
        )

    g_pair = DoubleDouble(g, np.zeros_like(g))
    if function == "sqrt":
        s, error = _lyapunov(c, g_pair)
        return np.ldexp(s.hi, -c.k), float((_ROUNDED + error).max())

    z, z_error = reference._inverse or _invert(c)
    zgz = symmetric(product(product(z, g_pair), z))
    s, error = _lyapunov(c, DoubleDouble(-zgz.hi, -zgz.lo))
    # Z enters R twice, and the equation divides by 2 d_min at worst. |Z|_2 = 1 / d_min.
    d_min = c.d[:, 0]
    r_error = 2 * z_error * norm(z.hi) * norm(g) / d_min
    error = error + r_error / (2 * d_min * np.maximum(norm(s.hi), _TINY))
    return np.ldexp(s.hi, -3 * c.k), float((_ROUNDED + error).max())


def worst(a: Floats, count: int) -> NDArray[np.int64]:
    """Return the indices, ascending, of `count` of the matrices in a: (b, n, n), to be checked.

    They include the matrix with the worst condition, the first one, and others spread evenly.
    """
    b = len(a)
    if count >= b:
        return np.arange(b)

    w = np.linalg.eigvalsh(a)
    chosen = {int(np.argmin(w[:, 0] / np.maximum(w[:, -1], _TINY)))}
    for i in (*np.linspace(0, b - 1, max(count - 1, 1)).astype(int), *range(b)):
        if len(chosen) < count:
            chosen.add(int(i))
    return np.array(sorted(chosen))


# Computation of the roots


def _roots_of_live(a: Floats, live: Bools) -> tuple[Floats, Floats, Floats, Bools]:
    """Return y, w, error and singular of `_SolvedRoots` for one matrix with zero rows.

    a: (n, n); live: (n,), the rows that are not zero. The results have a leading axis of 1.
    """
    rows = np.flatnonzero(live)
    if len(rows) == len(a):
        return _roots(a[None])[:4]
    y, w = np.zeros((1, *a.shape)), np.zeros((1, len(a)))
    if not len(rows):
        return y, w, np.zeros(1), np.ones(1, dtype=np.bool_)

    block = np.ix_(rows, rows)
    roots = _roots(a[block][None])
    y[0][block] = roots.y[0]
    w[0, : len(rows)] = roots.w[0]
    return y, np.sort(w), roots.error, np.ones(1, dtype=np.bool_)


def _roots(a: Floats) -> _SolvedRoots:
    """Return the roots of matrices without zero rows, a: (m, n, n)."""
    _, exponent = np.frexp(np.abs(a).max(axis=(1, 2), keepdims=True))
    k = (exponent.astype(np.int64) + 1) // 2
    b = np.ldexp(a, -2 * k)
    w, v = np.linalg.eigh(b)
    singular = w[:, 0] <= 8 * a.shape[-1] * EPS * w[:, -1]

    y, error, refined = np.empty_like(a), np.empty(len(a)), None
    sure = np.flatnonzero(~singular)
    if len(sure):
        refined = _correct(b[sure], np.sqrt(w[sure]), v[sure], k[sure])
        y[sure], error[sure] = refined.y.hi, _ROUNDED + refined.error
        singular[sure[refined.error > EPS]] = True  # refinement has not converged
    if singular.any():
        y[singular], error[singular] = _clipped(b[singular], w[singular], v[singular])
        refined = None

    return _SolvedRoots(np.ldexp(y, k), np.ldexp(w, 2 * k[:, :, 0]), error, singular, refined)


def _correct(a: Floats, d: Floats, v: Floats, k: NDArray[np.int64]) -> _Refined:
    """Refine the root V diag(d) Vᵀ by Newton's correction until it no longer improves."""
    y = symmetric(DoubleDouble((v * d[:, None, :]) @ v.swapaxes(1, 2), np.zeros_like(a)))

    def step(y: DoubleDouble) -> Floats:
        r = minus_square(a, y)
        return _solve_in_eigenbasis(v, d, r.hi + r.lo)

    return _Refined(k, v, d, *_refine(y, step))


def _invert(c: _Refined) -> _RefinedInverse:
    """Refine the inverse root V diag(1/d) Vᵀ until it no longer improves."""
    start = (c.v / c.d[:, None, :]) @ c.v.swapaxes(1, 2)
    eye = np.broadcast_to(np.eye(start.shape[-1]), start.shape)

    def step(z: DoubleDouble) -> Floats:
        yz = product(c.y, z)
        return z.hi @ ((eye - yz.hi) - yz.lo)

    z, error = _refine(symmetric(DoubleDouble(start, np.zeros_like(start))), step)
    return _RefinedInverse(z, error + c.condition * c.error)


def _lyapunov(c: _Refined, r: DoubleDouble) -> tuple[DoubleDouble, Floats]:
    """Return S with Y S + S Y = R, and its relative error for exact R."""

    def step(s: DoubleDouble) -> Floats:
        p = product(c.y, s)
        left = plus(plus(r, -p.hi), -p.hi.swapaxes(1, 2))
        return _solve_in_eigenbasis(c.v, c.d, left.hi + (left.lo - (p.lo + p.lo.swapaxes(1, 2))))

    start = _solve_in_eigenbasis(c.v, c.d, r.hi)
    s, error = _refine(symmetric(DoubleDouble(start, np.zeros_like(start))), step)
    return s, error + c.condition * c.error


def _clipped(a: Floats, w: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Return the root of the positive semidefinite part, (m, n, n), and its relative error, (m,).

    The eigendecomposition is exact for a matrix that differs by N = VᵀAV - diag(w). The effect of N
    on the root is multiplied by divided differences of at most about 1 / (sqrt|w_i| + sqrt|w_j|).
    This gives a first-order estimate, to which a safety factor is applied. Between null vectors the
    eigenvalues are noise themselves, and the error is at most the root of |N| in every unitarily
    invariant norm (Ando, Comparison of norms |||f(A) - f(B)||| and |||f(|A - B|)|||, Math. Z.
    1988). For a k by k block this is (sqrt(k) |N|_F)^(1/2) in the Frobenius norm.
    """
    n = a.shape[-1]
    d = np.sqrt(np.maximum(w, 0))
    y = (v * d[:, None, :]) @ v.swapaxes(1, 2)
    noise = v.swapaxes(1, 2) @ a @ v
    noise[:, range(n), range(n)] -= w
    size = np.maximum(norm(noise), EPS * norm(a))

    root = np.sqrt(np.maximum(np.abs(w), size[:, None]))
    first_order = norm(noise / (root[:, :, None] + root[:, None, :]))
    null = np.count_nonzero(np.abs(w) <= size[:, None], axis=1)
    among_null = np.sqrt(np.sqrt(null) * size)

    error = np.hypot(_SAFETY * first_order, among_null) / np.maximum(norm(y), _TINY)
    error += 2 * EPS * np.sqrt(n)  # rounding in V diag(d) Vᵀ
    error = np.where(null > 0, np.maximum(error, _NULL_FLOOR), error)
    return (y + y.swapaxes(1, 2)) / 2, error


def _refine(x: DoubleDouble, step: Callable[[DoubleDouble], Floats]) -> tuple[DoubleDouble, Floats]:
    """Repeat x <- x + step(x) until the steps no longer shrink by a factor of four.

    Returns x and an estimate of its relative error, (m,): the size of the last step, which then
    consists of noise, times `_SAFETY`.
    """
    last = np.full(len(x.hi), np.inf)

    for _ in range(_STEPS):
        e = step(x)
        e = (e + e.swapaxes(1, 2)) / 2
        size = norm(e) / np.maximum(norm(x.hi), _TINY)
        x = plus(x, e)
        done = (size <= _ENOUGH) | (size > last / 4)
        last = size
        if done.all():
            break

    return x, _SAFETY * np.maximum(last, _ENOUGH)


def _solve_in_eigenbasis(v: Floats, d: Floats, r: Floats) -> Floats:
    """Return E with Y E + E Y = R for Y = V diag(d) Vᵀ, in float64."""
    vt = v.swapaxes(1, 2)
    return v @ ((vt @ r @ v) / (d[:, :, None] + d[:, None, :])) @ vt
