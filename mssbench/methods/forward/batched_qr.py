"""Square root by an eigendecomposition in plain array operations, the whole batch at once."""

from mssbench import arrays
from mssbench.arrays import Array, amax, epsilon, eye_like, namespace, take_along, transpose
from mssbench.methods import decomposition
from mssbench.methods.method import LAPACK_PRECISIONS, Root, Wanted
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Song, Sebe & Wang, Batch-efficient Eigendecomposition for Small and Medium Matrices, "
    "ECCV 2022; Golub & Van Loan, Matrix Computations (2013), §8.3",
    products=lambda **_: 14.0,  # flop: 8 n³ to a tridiagonal, 6 n in each of 3 n² rotations, 2 n³
    yields=("sqrt", "isqrt", "eigen"),
    cuts_null=True,
    precisions=LAPACK_PRECISIONS,
    opaque=True,
)
def batched_qr(a: Array, wanted: Wanted, *, sweeps: int = 0) -> Root:
    """Householder to a tridiagonal matrix, implicit QR with Wilkinson shifts to the eigenvalues.

    T, V = A, I;  for each column: H = I - β h hᵀ,  T, V = H T H, V H;  then in every sweep, for
    k = 1, ..., n - 1: R turns rows k and k + 1 to chase the bulge one down,  T, V = R T Rᵀ, V Rᵀ.
    A^{±1/2} = V diag(T)^{±1/2} Vᵀ.

    a: (..., n, n), meant for n <= 32: the 3 n² rotations follow one another, each some thirty
    operations on vectors of the batch, which on a GPU cost their launches and little else.
    sweeps: as many for every matrix, so that the host never asks which have converged; 0: 3 n + 3.
    Each matrix deflates and stops alone, by rotations that turn nothing: unlike in the released
    code the batch does not change a root.
    """
    xp, p = namespace(a), power_of_four(a)
    t, q = _tridiagonal(a / p)
    d = xp.moveaxis(arrays.diagonal(t), -1, 0)  # (n, ...)
    e = xp.moveaxis(arrays.diagonal(t[..., 1:, :-1]), -1, 0)  # (n - 1, ...)
    v = [q[..., i] for i in range(len(d))]  # columns, (..., n)
    for _ in range((sweeps or 3 * len(d) + 3) if len(e) else 0):
        d, e, v = _sweep(d, e, v)
    w = xp.moveaxis(d, 0, -1)
    w = w.clip(0) if "isqrt" in wanted else decomposition.without_null(w)
    order = xp.argsort(w, -1)
    w, q = take_along(w, order), take_along(xp.stack(v, -1), order[..., None, :])
    s, qt, root_p = xp.sqrt(w)[..., None, :], transpose(q), xp.sqrt(p)
    return Root(
        sqrt=(q * s) @ qt * root_p if "sqrt" in wanted else None,
        isqrt=(q / s) @ qt / root_p if "isqrt" in wanted else None,
        eigen=(w * p[..., 0], q),
    )


def _tridiagonal(t: Array) -> tuple[Array, Array]:
    """Vᵀ T V and V, (..., n, n)."""
    xp, n, eye = namespace(t), t.shape[-1], eye_like(t)
    v = eye + 0 * t
    for k in range(n - 2):
        x = t[..., k : k + 1] * eye[k + 1 :].sum(0)[:, None]  # (..., n, 1): the column below T_kk
        size = amax(abs(x), -2)
        x = x / xp.where(size > 0, size, 1.0)  # the squares of small numbers would vanish
        norm = xp.linalg.norm(x, axis=-2, keepdims=True)
        h = x + xp.where(x[..., k + 1 : k + 2, :] < 0, -norm, norm) * eye[:, k + 1 : k + 2]
        hh = transpose(h) @ h
        beta = 2 / xp.where(hh > 0, hh, 2.0)  # h = 0 where there is nothing to reflect
        y = beta * (t @ h)
        y = y - beta / 2 * (transpose(h) @ y) * h
        t = t - h * transpose(y) - y * transpose(h)
        v = v - beta * (v @ h) * transpose(h)
    return t, v


def _sweep(d: Array, e: Array, v: list[Array]) -> tuple[Array, Array, list[Array]]:
    """One implicit QR step in every unreduced block of every matrix.

    Deflates as EISPACK does: e_k = 0 where |e_k| <= u (|d_k| + |d_{k+1}|). There nothing turns, and
    behind it a block begins: with d_k - μ and e_k where the others have what the last turn left.
    """
    xp = namespace(d)
    turns = abs(e) > epsilon(d) * (abs(d[:-1]) + abs(d[1:]))
    e = xp.where(turns, e, 0.0)
    first = d[:-1] - _shifts(d, e, turns)
    behind = [xp.zeros_like(turns[0]), *turns]  # whether the block began further up
    above, below, v = [], [0 * e[0]], list(v)  # the new diagonal and off-diagonal
    p, c, s = d[0], 1.0, 0.0
    for k in range(len(e)):
        x = xp.where(behind[k], below[k], first[k])
        z = xp.where(behind[k], s * e[k], e[k])
        r = xp.hypot(x, z)
        turn = turns[k] & (r > 0)
        below[k] = xp.where(behind[k] & turn, r, below[k])
        q, safe = c * e[k], xp.where(turn, r, 1.0)
        c, s = xp.where(turn, x / safe, 1.0), xp.where(turn, z / safe, 0.0)
        g = (d[k + 1] - p) * s + 2 * c * q
        above.append(p + s * g)
        below.append(c * g - q)
        p = d[k + 1] - s * g
        cv, sv = c[..., None], s[..., None]
        v[k], v[k + 1] = cv * v[k] + sv * v[k + 1], cv * v[k + 1] - sv * v[k]
    return xp.stack([*above, p]), xp.stack(below[1:]), v


def _shifts(d: Array, e: Array, turns: Array) -> Array:
    """Wilkinson's: the eigenvalue nearer to d_{k+1} of the last 2 x 2 of the block that k is in."""
    xp = namespace(d)
    half = (d[:-1] - d[1:]) / 2
    root = xp.hypot(half, e)
    divisor = xp.where(half < 0, half - root, half + root)
    own = d[1:] - e * (e / xp.where(divisor == 0, 1.0, divisor))
    shifts = [own[-1]]
    for k in range(len(own) - 2, -1, -1):
        shifts.append(xp.where(turns[k + 1], shifts[-1], own[k]))
    return xp.stack(shifts[::-1])
