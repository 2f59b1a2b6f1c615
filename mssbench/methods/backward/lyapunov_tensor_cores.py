"""Gradient by minimax factors for the matrix sign, on tensor cores, in one CUDA kernel."""

from typing import Literal

from mssbench.arrays import Array
from mssbench.methods.kernels import factors
from mssbench.methods.kernels import fused as kernels
from mssbench.methods.kernels.variants import Operands
from mssbench.methods.method import Function, Root, Steps
from mssbench.methods.registry import register_backward


@register_backward(
    cite="this project: the kernel of lyapunov_fused, after Lin & Maji, BMVC 2017; three products "
    "in tf32 for one: Ootomo & Yokota, Int. J. High Perform. Comput. Appl. 36 (2022)",
    products=factors.gradient_products,
    libraries=("torch", "cupy"),
    precisions=("float32",),
    symmetrizes=True,
    solves=True,
    launches=1,
    devices=("cuda",),
)
def lyapunov_tensor_cores(
    root: Root,
    function: Function,
    g: Array,
    *,
    degree: Literal[3, 5] = 5,
    iterations: Steps = 6,
    finish: int = 0,
    operands: Operands = "tf32x3",
) -> Array:
    """`lyapunov_fused` with its products on tensor cores; only the roots are saved for it.

    g: (..., n, n) on a GPU of sm_80 or later, any cotangent; n <= 96. operands: how the operands of
    products are rounded, as for `fused_tensor_cores`.
    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    unit = factors.UNIT[operands]
    chosen = factors.of_gradient(degree, iterations, finish, unit, g.shape[-1])
    return kernels.lyapunov(root, function, g, chosen, operands)
