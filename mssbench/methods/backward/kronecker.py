"""Gradient by one dense linear solve of the Lyapunov equation."""

from mssbench.arrays import Array, eye_like, solve
from mssbench.errors import Unsupported
from mssbench.methods.backward.implicit import lyapunov_solver
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE

_LARGEST = 16  # 256 unknowns: 1365 products of time, half a megabyte a matrix


@lyapunov_solver(
    cite="Horn & Johnson, Topics in Matrix Analysis, Cambridge 1991, ch. 4",
    products=lambda: _LARGEST**3 / 3,  # at the largest size: an LU is 2/3 n⁶ flop
    precisions=LAPACK_PRECISIONS,
    at_singular="its linear system is singular, and rounding errors fill the gradient",
    computes=NUMPY_IN_DOUBLE,
)
def kronecker(y: Array, r: Array) -> Array:
    """Dense Lyapunov solve, n <= 16: it knows no eigenvector and no iteration, only an LU.

    (I ⊗ Y + Y ⊗ I) vec S = vec R.

    y, r: (..., n, n), symmetric. Memory grows with n⁴ and time with n⁶: a judge of other methods.
    Raises Unsupported for n > 16.
    """
    n = y.shape[-1]
    if n > _LARGEST:
        raise Unsupported(f"kronecker solves for n² unknowns: n is {n}, and 16 at most")
    eye = eye_like(y)
    # Row (i, k), column (j, l): Y_ij δ_kl + δ_ij Y_kl.
    left = y[..., :, None, :, None] * eye[:, None, :]
    right = eye[:, None, :, None] * y[..., None, :, None, :]
    m = (left + right).reshape(*y.shape[:-2], n * n, n * n)
    return solve(m, r.reshape(*r.shape[:-2], n * n, 1)).reshape(r.shape)
