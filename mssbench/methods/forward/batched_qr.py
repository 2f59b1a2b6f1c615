"""Square root by an eigendecomposition of the whole batch at once, in plain array operations."""

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
    """Householder reduction to tridiagonal form, then implicit QR with Wilkinson shifts.

    T, V = A, I;  for each column: H = I - β h hᵀ,  T, V = H T H, V H;  then in every sweep, for
    k = 1, ..., n - 1: R rotates rows k and k + 1 to chase the bulge down by one,
    T, V = R T Rᵀ, V Rᵀ.  A^{±1/2} = V diag(T)^{±1/2} Vᵀ.

    a: (..., n, n), intended for n <= 32. The 3 n² rotations are sequential, each some thirty
    operations on vectors of the batch, whose cost on a GPU is mostly that of their launches.
    sweeps: the same number for every matrix, so that the host never waits to learn which have
    converged; 0 for 3 n + 3. Each matrix deflates and stops independently, by rotations with angle
    0. Unlike in the released code, a root does not depend on the rest of its batch.
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
    """Return the tridiagonal Vᵀ T V, and V, (..., n, n) each."""
    xp, n, eye = namespace(t), t.shape[-1], eye_like(t)
    v = eye + 0 * t

    for k in range(n - 2):
        x = t[..., k : k + 1] * eye[k + 1 :].sum(0)[:, None]  # (..., n, 1): the column below T_kk
        size = amax(abs(x), -2)
        x = x / xp.where(size > 0, size, 1.0)  # the squares of small numbers would underflow
        norm = xp.linalg.norm(x, axis=-2, keepdims=True)
        h = x + xp.where(x[..., k + 1 : k + 2, :] < 0, -norm, norm) * eye[:, k + 1 : k + 2]
        hh = transpose(h) @ h
        beta = 2 / xp.where(hh > 0, hh, 2.0)  # h = 0 if the column is zero already

        y = beta * (t @ h)
        y = y - beta / 2 * (transpose(h) @ y) * h
        t = t - h * transpose(y) - y * transpose(h)
        v = v - beta * (v @ h) * transpose(h)
    return t, v


def _sweep(d: Array, e: Array, v: list[Array]) -> tuple[Array, Array, list[Array]]:
    """Apply one implicit QR step to every unreduced block of every matrix; return d, e, v.

    Deflates as EISPACK does: e_k = 0 where |e_k| <= u (|d_k| + |d_{k+1}|). There the rotation has
    angle 0, and a new block begins after it. The first rotation of a block is computed from d_k - μ
    and e_k, the others from the bulge that the previous rotation left.
    """
    xp = namespace(d)
    turns = abs(e) > epsilon(d) * (abs(d[:-1]) + abs(d[1:]))
    e = xp.where(turns, e, 0.0)
    first = d[:-1] - _shifts(d, e, turns)
    inside = [xp.zeros_like(turns[0]), *turns]  # whether row k belongs to the block of row k - 1
    above, below, v = [], [0 * e[0]], list(v)  # the new diagonal and off-diagonal
    p, c, s = d[0], 1.0, 0.0

    for k in range(len(e)):
        x = xp.where(inside[k], below[k], first[k])
        z = xp.where(inside[k], s * e[k], e[k])
        r = xp.hypot(x, z)
        turn = turns[k] & (r > 0)
        below[k] = xp.where(inside[k] & turn, r, below[k])

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
    """Return the Wilkinson shift of the block that contains row k, for each k.

    It is the eigenvalue of the block's last 2 x 2 submatrix that is closer to its last entry.
    """
    xp = namespace(d)
    half = (d[:-1] - d[1:]) / 2
    root = xp.hypot(half, e)
    divisor = xp.where(half < 0, half - root, half + root)
    candidates = d[1:] - e * (e / xp.where(divisor == 0, 1.0, divisor))

    # From the last row upwards: each row takes the shift of the row below in the same block.
    shifts = [candidates[-1]]
    for k in range(len(candidates) - 2, -1, -1):
        shifts.append(xp.where(turns[k + 1], shifts[-1], candidates[k]))
    return xp.stack(shifts[::-1])
