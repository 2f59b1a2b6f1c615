"""Gradient by minimax factors for the matrix sign of a block matrix, in one CUDA kernel."""

from typing import Literal

from mssbench.arrays import Array, epsilon
from mssbench.methods.kernels import factors
from mssbench.methods.kernels import fused as kernels
from mssbench.methods.method import Function, Root, Steps
from mssbench.methods.registry import register_backward


@register_backward(
    cite="this project: lyapunov_minimax, the iteration of Lin & Maji, BMVC 2017, in shared memory",
    products=factors.gradient_products,
    libraries=("torch", "cupy"),
    precisions=("float64", "float32"),
    symmetrizes=True,
    solves=True,
    launches=1,
    devices=("cuda",),
)
def lyapunov_fused(
    root: Root,
    function: Function,
    g: Array,
    *,
    degree: Literal[3, 5] = 5,
    iterations: Steps = 6,
    finish: int = 0,
) -> Array:
    """Lyapunov solve of Y S + S Y = R for the whole batch in one launch, from the roots alone.

    g: (..., n, n) on a GPU, any cotangent; n <= 96 in float32, 64 in float64. The parameters are
    those of `lyapunov_minimax`. With `iterations` = 0 the `finish` steps are those of the
    Newton–Schulz family of this degree.
    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    chosen = factors.of_gradient(degree, iterations, finish, epsilon(g) / 2, g.shape[-1])
    return kernels.lyapunov(root, function, g, chosen)
