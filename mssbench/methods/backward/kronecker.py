"""Gradient by one dense linear solve of the Lyapunov equation."""

from mssbench.arrays import Array, eye_like, solve
from mssbench.errors import Unsupported
from mssbench.methods.backward.implicit import lyapunov_solver
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE

# n = 16 gives 256 unknowns, which take the time of 1365 products and 0.5 MB per matrix in float64.
_LARGEST = 16


@lyapunov_solver(
    cite="Horn & Johnson, Topics in Matrix Analysis, Cambridge 1991, ch. 4",
    products=lambda: _LARGEST**3 / 3,  # for the largest size: an LU takes 2/3 n⁶ flop
    precisions=LAPACK_PRECISIONS,
    at_singular="its linear system is singular, and rounding errors fill the gradient",
    computes=NUMPY_IN_DOUBLE,
)
def kronecker(y: Array, r: Array) -> Array:
    """Dense Lyapunov solve by LU for n <= 16, without eigenvectors or iterations.

    (I ⊗ Y + Y ⊗ I) vec S = vec R.

    y, r: (..., n, n), symmetric. Memory grows as n⁴ and time as n⁶. It serves as an independent
    check of other methods. Raises Unsupported for n > 16.
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
