"""Square root by Jacobi's eigenvalue method, in one CUDA kernel."""

from mssbench.arrays import Array
from mssbench.methods.kernels import fused as kernels
from mssbench.methods.method import Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Golub & Van Loan, Matrix Computations, 2013, §8.5; one block a matrix, by this project",
    products=lambda: 24.0,  # six sweeps, which also rotate V, and two products
    yields=("sqrt", "isqrt", "eigen"),
    libraries=("torch", "cupy"),
    precisions=("float64", "float32"),
    opaque=True,
    launches=1,
    devices=("cuda",),
)
def jacobi(a: Array, wanted: Wanted) -> Root:
    """Jacobi rotations of disjoint pairs of rows in parallel, until the matrix is diagonal.

    A = V diag(w) Vᵀ gives A^{±1/2} = V diag(w^{±1/2}) Vᵀ. The eigenvalues are in no particular
    order.

    a: (..., n, n) on a GPU, n <= 64. Eigenvalues that rounding made negative count as 0.
    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    return kernels.jacobi(a, wanted)
