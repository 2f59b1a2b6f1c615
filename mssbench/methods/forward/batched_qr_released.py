"""Square root by the batched QR iteration that the authors of BatchED published."""

from mssbench.arrays import Array, diagonal, eye_like, is_readable, namespace, transpose
from mssbench.methods.method import LAPACK_PRECISIONS, Root, Wanted
from mssbench.methods.registry import register_forward
from mssbench.methods.stopping import largest

# The published constants, which are absolute. _SMALL is added to divisors and is the least
# eigenvalue. Off-diagonal entries below _DEFLATED in the whole batch count as zero.
_SMALL = 1e-10
_DEFLATED = 1e-3


@register_forward(
    cite="Song, Sebe & Wang, Batch-efficient Eigendecomposition for Small and Medium Matrices, "
    "ECCV 2022, the code of BatchED on GitHub",
    products=lambda: 14.0,  # flop: 8 n³ to a tridiagonal, up to 18 n³ in n double steps, 2 n³
    yields=("sqrt", "isqrt", "eigen"),
    cuts_null=True,  # the pair must not cut eigenvalues again: all are at least ε
    precisions=LAPACK_PRECISIONS,
    at_singular="its root has √ε in null directions",
    inexact="as released: entries below 1e-3 in the whole batch count as zero, and the steps end "
    "after n whether they have converged or not",
    opaque=True,
)
def batched_qr_released(a: Array, wanted: Wanted) -> Root:
    """The published QR iteration, whose roots depend on the other matrices of the batch.

    T, V = Householder(A); then up to n times, for both shifts μ of the last 2 x 2 block of the
    active part: T - μ I is rotated in the planes (1, 2), (2, 3), ..., so that row k loses its entry
    above the diagonal, and V is rotated along. A^{±1/2} = V diag(max(T_ii, ε))^{±1/2} Vᵀ,
    ε = 1e-10.

    a: (..., n, n). It differs from a textbook algorithm, and from `batched_qr`, in the following. A
    rotation acts on the entries k - 1 to k + 2 only, although earlier rotations have left nonzero
    entries outside. One of the two shifts is not an eigenvalue of the 2 x 2 block. The active part
    shrinks when the last off-diagonal entries of *all* matrices are below 1e-3, whatever their
    scale. There is no check at the end that the matrix is diagonal. The rotation of two zeros is
    the zero matrix, so that both roots of A = 0 are 0. The median error of the root in float32, of
    sample covariances (ratio 2) with n = 8, 16 and 24, is 7e-4, 4e-4 and 1e-3 for a single matrix,
    and 0.38, 0.31 and 0.30 in a batch of 512.

    The authors multiply V by the product of all rotations of a step; here V is rotated plane by
    plane, which is equal up to rounding. Inside torch.func.vmap, where the host cannot read values,
    the active part never shrinks. The authors use the gradient `svd_taylor_released` with it.
    """
    xp = namespace(a)
    t, v = _tridiagonal(a)
    t, v = _iterated(t, v)

    w = diagonal(t).clip(_SMALL)
    s, vt = xp.sqrt(w)[..., None, :], transpose(v)
    return Root(
        sqrt=(v * s) @ vt if "sqrt" in wanted else None,
        isqrt=(v / s) @ vt if "isqrt" in wanted else None,
        eigen=(w, v),
    )


def _tridiagonal(t: Array) -> tuple[Array, Array]:
    """Return Vᵀ A V and V, (..., n, n), by reflections with _SMALL added to their divisors."""
    xp, n, eye = namespace(t), t.shape[-1], eye_like(t)
    v = eye + 0 * t

    for k in range(n - 2):
        x = transpose(t[..., k : k + 1, :]) * eye[k + 1 :].sum(0)[:, None]  # (..., n, 1)
        first = x[..., k + 1 : k + 2, :]
        norm = xp.sqrt((x * x).sum(-2)[..., None, :])
        h = x + first / (abs(first) + _SMALL) * norm * eye[:, k + 1 : k + 2]
        squared = ((h + _SMALL) ** 2).sum(-2)[..., None, :]

        p = 2 * (t @ h) / squared
        q = p - (transpose(h) @ p) / squared * h
        v = v - 2 * (v @ h) @ transpose(h) / squared
        t = t - q @ transpose(h) - h @ transpose(q)
    return t, v


def _iterated(t: Array, v: Array) -> tuple[Array, Array]:
    """Return T and V after at most n double steps."""
    n, eye = t.shape[-1], eye_like(t)
    left = n  # rows of the active part

    for _ in range(n if n > 1 else 0):
        for shift in _shifts(t[..., left - 2 : left, left - 2 : left]):
            moved = shift[..., None, None] * eye
            t, v = _rotated(t - moved, v, left)
            t = t + moved
            if _is_small(t[..., left - 1, left - 2]):
                left -= 1
            if left <= 2:
                return t, v
    return t, v


def _shifts(block: Array) -> tuple[Array, Array]:
    """Return the two shifts of a step from the last 2 x 2 block, (..., 2, 2)."""
    xp = namespace(block)
    above, beside, below = block[..., 0, 0], block[..., 0, 1], block[..., 1, 1]
    half = (above - below) / 2
    divisor = abs(half) + xp.sqrt(half**2 + beside**2) + _SMALL
    change = xp.sign(half) * beside**2 / divisor
    return below - change, above - change


def _rotated(t: Array, v: Array, left: int) -> tuple[Array, Array]:
    """Return T and V after one sweep of rotations over the first `left` rows.

    The rotation number k, for k = 0, 1, ..., left - 2, acts on the rows and columns k and k + 1 of
    T, and on the same columns of V.
    """
    xp = namespace(t)
    rows = [t[..., i, :] for i in range(t.shape[-1])]
    columns = [v[..., i] for i in range(t.shape[-1])]
    for k in range(max(left - 1, 1)):
        x, y = rows[k][..., k], rows[k][..., k + 1]
        norm = xp.sqrt(x**2 + y**2) + _SMALL
        c, s = (x / norm)[..., None], (y / norm)[..., None]

        first, last = max(k - 1, 0), min(k + 3, len(rows))
        for i in range(first, last):  # the columns k and k + 1 of T
            row = rows[i]
            one, two = row[..., k : k + 1], row[..., k + 1 : k + 2]
            turned = (c * one + s * two, c * two - s * one)
            rows[i] = xp.concatenate((row[..., :k], *turned, row[..., k + 2 :]), -1)
        one, two = rows[k], rows[k + 1]  # the rows k and k + 1 of T, in the same range of columns
        for i, turned_row in ((k, c * one + s * two), (k + 1, c * two - s * one)):
            ends = rows[i][..., :first], turned_row[..., first:last], rows[i][..., last:]
            rows[i] = xp.concatenate(ends, -1)

        one, two = columns[k], columns[k + 1]
        columns[k], columns[k + 1] = c * one + s * two, c * two - s * one
    return xp.stack(rows, -2), xp.stack(columns, -1)


def _is_small(entries: Array) -> bool:
    """Whether the entries of all matrices count as zero. The host waits for a GPU here."""
    if not is_readable(entries):
        return False
    return largest(namespace(entries).where(abs(entries) < _DEFLATED, 0.0, 1.0)) == 0
