"""Square root by SciPy's Schur method."""

import warnings

from mssbench.arrays import Array, namespace
from mssbench.methods.method import LAPACK_PRECISIONS, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Björck & Hammarling (1983); Deadman, Higham & Ralha, Blocked Schur Algorithms for "
    "Computing the Matrix Square Root, 2013; scipy.linalg.sqrtm",
    products=lambda: 14.0,  # 25 n³ flop for A = Q T Qᵀ, n³ / 3 for the root of T, 2 n³
    libraries=("numpy",),
    precisions=LAPACK_PRECISIONS,
    package="scipy.linalg",
)
def schur(a: Array, wanted: Wanted) -> Root:
    """SciPy's `sqrtm`: A = Q T Qᵀ with T triangular, U U = T column by column, Y = Q U Qᵀ.

    a: (..., n, n), matrix by matrix on the CPU. SciPy does not use the symmetry: if rounding has
    made an eigenvalue negative it returns a complex root. Its real part is used, so that the
    eigenvalue counts as 0. A^{-1/2} is SciPy's inverse of Y, and NaN if Y is singular.
    """
    from scipy.linalg import LinAlgWarning, sqrtm

    xp = namespace(a)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)  # singular matrices are expected
        y = xp.stack([sqrtm(matrix).real for matrix in a.reshape(-1, *a.shape[-2:])])
    y = y.astype(a.dtype).reshape(a.shape)
    return Root(
        sqrt=y if "sqrt" in wanted else None, isqrt=_inverse(y) if "isqrt" in wanted else None
    )


def _inverse(y: Array) -> Array:
    """Return Y^{-1}, computed in the precision of Y; NumPy would compute it in float64."""
    from scipy.linalg import LinAlgError, LinAlgWarning, inv

    xp = namespace(y)
    inverses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        for matrix in y.reshape(-1, *y.shape[-2:]):
            try:
                inverses.append(inv(matrix, check_finite=False))
            except LinAlgError:
                inverses.append(matrix * xp.nan)
    return xp.stack(inverses).reshape(y.shape)
