"""Newton–Schulz captured once as a CUDA graph, and replayed."""

from mssbench.arrays import Array
from mssbench.bounds import Norm
from mssbench.coupled import products
from mssbench.forward.newton_schulz import newton_schulz
from mssbench.graphs import replayed
from mssbench.registry import Root, Wanted, register_forward
from mssbench.schedules import taylor


@register_forward(
    cite="Higham, Functions of Matrices, SIAM 2008, ch. 6; CUDA C++ Programming Guide (2025), "
    "CUDA Graphs",
    products=lambda iterations, norm: products([taylor(3)] * iterations, norm),
    libraries=("torch",),
    opaque=True,
    launches=1,
    devices=("cuda",),
)
def newton_schulz_graph(
    a: Array, wanted: Wanted, *, iterations: int = 5, norm: Norm = "frobenius"
) -> Root:
    """Coupled Newton–Schulz as one launch: the kernels of `newton_schulz` without its calls.

    a: (..., n, n), torch on cuda. See graphs.py for what is kept and what waits.
    Raises Unsupported on a CPU.
    """

    def root(x: Array) -> Root:
        return newton_schulz(x, wanted, iterations=iterations, norm=norm)

    return replayed(root, ("newton_schulz_graph", wanted, iterations, norm), a)
