"""Square root by the coupled iteration in a single CUDA kernel."""

from typing import Literal

from mssbench.arrays import Array, epsilon
from mssbench.methods.kernels import factors
from mssbench.methods.kernels import fused as kernels
from mssbench.methods.kernels.variants import KernelNorm
from mssbench.methods.method import Root, Steps, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="this project: the iteration of Higham, Functions of Matrices, SIAM 2008, ch. 6, with the "
    "factors of Amsel et al., The Polar Express, arXiv 2505.16932, in shared memory",
    products=factors.products,
    libraries=("torch", "cupy"),
    precisions=("float64", "float32"),
    opaque=True,
    launches=1,
    devices=("cuda",),
)
def fused(
    a: Array,
    wanted: Wanted,
    *,
    degree: Literal[3, 5, 9] = 5,
    iterations: Steps = 4,
    finish: int = 1,
    norm: KernelNorm = "min_ws_minc",
) -> Root:
    """One launch reads A, runs all steps in shared memory, and writes the roots.

    Y = A / c, Z = I;  for the minimax factors h_i in turn: T = h_i(Z Y),  Y, Z = Y T, T Z;
    A^{1/2} = √c Y,  A^{-1/2} = Z / √c.

    a: (..., n, n) on a GPU, n <= 128 in float32 and 88 in float64 (degree 9: 96 and 64), or less if
    the device has less shared memory. The parameters are those of `minimax`. With `iterations` = 0
    the `finish` steps are those of Newton–Schulz, of degree 3.
    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    unit = epsilon(a) / 2  # independent of the library's setting for products, such as tf32
    chosen = factors.of_roots(degree, iterations, finish, unit, a.shape[-1])
    return kernels.iterate(a, chosen, norm, wanted)
