"""Square root by the coupled iteration on tensor cores, in a single Triton kernel."""

from typing import Literal

from mssbench.arrays import Array
from mssbench.methods.kernels import factors, triton_roots
from mssbench.methods.kernels.variants import KernelNorm, Operands
from mssbench.methods.method import Root, Steps, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="this project: the schedule of minimax; three products in tf32 for one in float32: Ootomo "
    "& Yokota, Int. J. High Perform. Comput. Appl. 36 (2022)",
    products=factors.products,
    libraries=("torch",),
    precisions=("float32",),
    opaque=True,
    launches=1,
    devices=("cuda",),
)
def fused_triton(
    a: Array,
    wanted: Wanted,
    *,
    degree: Literal[3, 5] = 5,
    iterations: Steps = 4,
    finish: int = 1,
    norm: KernelNorm = "min_ws_minc",
    operands: Operands = "tf32x3",
) -> Root:
    """One launch in Triton: products on tensor cores, with Y, Z and T in registers.

    operands: as for `fused_tensor_cores`, but operands in tf32 are truncated rather than rounded,
    which loses a bit.

    a: (..., n, n), torch on cuda; n <= 32 with tf32x3, else 64. With `iterations` = 0 the `finish`
    steps are those of Newton–Schulz, of degree 3. Raises Unsupported if the kernel does not fit the
    batch, and NotInstalled without Triton.
    """
    unit = factors.UNIT[operands] * (2 if operands == "tf32" else 1)
    chosen = factors.of_roots(degree, iterations, finish, unit, a.shape[-1])
    return triton_roots.iterate(a, chosen, norm, wanted, operands)
