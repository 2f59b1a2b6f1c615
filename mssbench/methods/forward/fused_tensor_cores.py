"""Square root by the coupled iteration on tensor cores, in a single CUDA kernel."""

from typing import Literal

from mssbench.arrays import Array
from mssbench.methods.kernels import factors
from mssbench.methods.kernels import fused as kernels
from mssbench.methods.kernels.variants import KernelNorm, Operands
from mssbench.methods.method import Root, Steps, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="this project: the kernel of fused; three products in tf32 for one, summed outside of the "
    "tensor cores: Ootomo & Yokota, Int. J. High Perform. Comput. Appl. 36 (2022)",
    products=factors.products,
    libraries=("torch", "cupy"),
    precisions=("float32",),
    opaque=True,
    launches=1,
    devices=("cuda",),
)
def fused_tensor_cores(
    a: Array,
    wanted: Wanted,
    *,
    degree: Literal[3, 5, 9] = 5,
    iterations: Steps = 4,
    finish: int = 1,
    norm: KernelNorm = "min_ws_minc",
    operands: Operands = "tf32x3",
) -> Root:
    """`fused` with its products on tensor cores, where each warp computes tiles of 32 x 32.

    operands: how the operands of products are rounded. tf32x3 computes three products in tf32 for
    one, and keeps the accuracy of float32. tf32 has 11 bits and bfloat16 has 8; the schedule of
    factors is made for that accuracy.

    a: (..., n, n) on a GPU of sm_80 or later, n <= 128; degree 9 exists for tf32x3 only, n <= 96.
    With `iterations` = 0 the `finish` steps are those of Newton–Schulz, of degree 3.
    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    chosen = factors.of_roots(degree, iterations, finish, factors.UNIT[operands], a.shape[-1])
    return kernels.iterate(a, chosen, norm, wanted, operands)
