"""Square root by the coupled iteration, all of it in one CUDA kernel."""

from typing import Literal

from mssbench.arrays import Array, epsilon
from mssbench.methods.kernels import factors
from mssbench.methods.kernels import fused as kernels
from mssbench.methods.kernels.variants import Norm
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
    norm: Norm = "min_ws_minc",
) -> Root:
    """One launch: A is read, the roots are written, and all steps run in shared memory.

    Y = A / c, Z = I;  for the best h_i in turn: T = h_i(Z Y),  Y, Z = Y T, T Z.

    a: (..., n, n) on a GPU, n <= 128 in float32 and 88 in float64 (degree 9: 96 and 64), or what
    the device's shared memory holds. With `iterations` = 0 the `finish` steps are Newton–Schulz, of
    degree 3.
    Raises Unsupported where no kernel serves, and NotInstalled without CuPy.
    """
    unit = epsilon(a) / 2  # whatever products of the library round to
    chosen = factors.of_roots(degree, iterations, finish, unit, a.shape[-1])
    return kernels.iterate(a, chosen, norm, wanted)
