"""Square root by Newton–Schulz, captured once as a CUDA graph and replayed."""

from mssbench.arrays import Array
from mssbench.methods.coupled import products
from mssbench.methods.cuda_graph import replayed
from mssbench.methods.forward.newton_schulz import taken
from mssbench.methods.method import Root, Steps, Wanted
from mssbench.methods.minimax import taylor
from mssbench.methods.norms import Norm
from mssbench.methods.registry import register_forward


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
    a: Array, wanted: Wanted, *, iterations: Steps = 5, norm: Norm = "frobenius"
) -> Root:
    """Coupled Newton–Schulz as one launch: a CUDA graph of the kernels of `newton_schulz`.

    a: (..., n, n), torch on cuda. With "auto" a replay has the largest number of steps that a
    matrix may need, and each matrix stops at its own. See cuda_graph.py for the graphs that are
    kept and for synchronisation.
    Raises Unsupported on a CPU.
    """

    def root(x: Array) -> Root:
        return taken(x, wanted, iterations, norm, reads=False)

    return replayed(root, ("newton_schulz_graph", wanted, iterations, norm), a)
