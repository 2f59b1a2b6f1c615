"""Square root by the coupled iteration on tensor cores, all of it in one kernel."""

from math import sqrt
from typing import Literal

from mssbench.arrays import Array
from mssbench.coupled import products
from mssbench.kernels import tensor_cores
from mssbench.kernels.variants import Norm
from mssbench.registry import Root, Wanted, register_forward
from mssbench.schedules import plan, taylor

# 2u of a product's operands: of three products in tf32 what is left is float32's own.
_UNIT = {"tf32x3": 2.0**-23, "tf32": 2.0**-11, "bfloat16": 2.0**-8}
_RIPPLE = 1e-3  # as in minimax


@register_forward(
    cite="this project: the schedule of minimax; three products in tf32 for one in float32: Ootomo "
    "& Yokota, Int. J. High Perform. Comput. Appl. 36 (2022)",
    products=lambda degree, iterations, finish, norm, **_: products(
        [taylor(degree)] * (iterations + finish) if iterations else [taylor(3)] * max(finish, 1),
        norm,
    ),
    libraries=("torch",),
    precisions=("float32",),
    opaque=True,
    launches=1,
    devices=("cuda",),
)
def fused_tensor_cores(
    a: Array,
    wanted: Wanted,
    *,
    degree: Literal[3, 5] = 5,
    iterations: int = 4,
    finish: int = 1,
    norm: Norm = "min_ws_minc",
    operands: Literal["tf32x3", "tf32", "bfloat16"] = "tf32x3",
) -> Root:
    """One launch in Triton: products of tensor cores, Y, Z and T in registers.

    operands: tf32x3 keeps float32's digits by three products for one; tf32 has 10 bits, and
    bfloat16 7: their error is what the table says, and a schedule is made for it.

    a: (..., n, n), torch on cuda; n <= 32 with tf32x3, else 64. With `iterations` = 0 the `finish`
    steps are Newton–Schulz, of degree 3. Raises Unsupported where the kernel does not serve, and
    NotInstalled without Triton.
    """
    if iterations == 0:
        factors = (taylor(3),) * max(finish, 1)
    else:
        unit, n = _UNIT[operands], a.shape[-1]
        floor = min(3 * sqrt(unit * sqrt(n)), 0.5)
        factors = plan(degree, iterations, 0.0, finish, error=_RIPPLE * unit, floor=floor).factors
    return tensor_cores.iterate(a, factors, norm, wanted, operands)
